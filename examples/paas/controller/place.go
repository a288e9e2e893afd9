package controller

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// An offer is what a DEA or a stager last advertised, less what was given to it since.
type offer struct {
	id     string
	stacks []string
	memory int64 // MB
	disk   int64 // MB
	zone   string
	apps   map[string]int
	at     time.Time
}

// offerLifetime is how long an advertisement counts.
const offerLifetime = 10 * time.Second

// offers are the advertisements of one kind of component.
type offers map[string]*offer

func (o offers) advertised(ad messaging.Advertisement, now time.Time) {
	zone := ad.PlacementProperties.Zone
	if zone == "" {
		zone = "default"
	}
	o[ad.ID] = &offer{
		id: ad.ID, stacks: ad.Stacks, memory: int64(ad.AvailableMemory), disk: offered(ad.AvailableDisk),
		zone: zone, apps: ad.AppIDToCount, at: now,
	}
}

func (o offers) stagerAdvertised(ad messaging.StagerAdvertisement, now time.Time) {
	o[ad.ID] = &offer{id: ad.ID, stacks: ad.Stacks, memory: int64(ad.AvailableMemory), disk: offered(ad.AvailableDisk), at: now}
}

// offered is the disk of an offer in MB; one that does not say has enough.
func offered(disk *messaging.Int) int64 {
	if disk == nil {
		return 1 << 40
	}
	return int64(*disk)
}

// fitting drops stale offers and returns those with room.
func (o offers) fitting(memory, disk int64, stack string, now time.Time) []*offer {
	var fit []*offer
	for id, offer := range o {
		switch {
		case now.Sub(offer.at) > offerLifetime:
			delete(o, id)
		case offer.memory >= memory && offer.disk >= disk && (stack == "" || slices.Contains(offer.stacks, stack)):
			fit = append(fit, offer)
		}
	}
	return fit
}

// place chooses a DEA for one more instance of an app as the Cloud Controller does: in the zone with the fewest instances of
// the app, on the DEA with the fewest, among these one of the half with the most memory, by chance. The offer is
// reduced by what was given to it.
func (o offers) place(app string, memory, disk int64, stack string, now time.Time) (id string, ok bool) {
	fit := o.fitting(memory, disk, stack, now)
	if len(fit) == 0 {
		return "", false
	}
	inZone := map[string]int{}
	for _, offer := range o {
		inZone[offer.zone] += offer.apps[app]
	}
	fit = fewest(fit, func(f *offer) int { return inZone[f.zone] })
	fit = fewest(fit, func(f *offer) int { return f.apps[app] })
	slices.SortFunc(fit, func(a, b *offer) int { return int(b.memory - a.memory) })
	chosen := fit[rand.IntN((len(fit)+1)/2)]
	chosen.memory -= memory
	chosen.disk -= disk
	if chosen.apps == nil {
		chosen.apps = map[string]int{}
	}
	chosen.apps[app]++
	return chosen.id, true
}

// stager chooses one of the stagers with the most memory.
func (o offers) stager(memory, disk int64, stack string, now time.Time) (id string, ok bool) {
	fit := o.fitting(memory, disk, stack, now)
	if len(fit) == 0 {
		return "", false
	}
	slices.SortFunc(fit, func(a, b *offer) int { return int(b.memory - a.memory) })
	chosen := fit[rand.IntN(min(len(fit), 5))]
	chosen.memory -= memory
	chosen.disk -= disk
	return chosen.id, true
}

// mostMemory is that of the offer with the most, in MB.
func (o offers) mostMemory() (most int64) {
	for _, offer := range o {
		most = max(most, offer.memory)
	}
	return most
}

// fewest returns the elements for which count is smallest.
func fewest(list []*offer, count func(*offer) int) []*offer {
	least := count(slices.MinFunc(list, func(a, b *offer) int { return count(a) - count(b) }))
	return slices.DeleteFunc(list, func(f *offer) bool { return count(f) != least })
}
