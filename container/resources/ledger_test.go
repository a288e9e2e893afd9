package resources_test

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/deakit/deakit/container/resources"
)

func amount(memory, disk int64) resources.Amount {
	return resources.Amount{MemoryBytes: memory, DiskBytes: disk}
}

func TestReserveNamesTheShortResourceDiskFirst(t *testing.T) {
	for _, tc := range []struct {
		name   string
		want   resources.Amount
		short  resources.Resource
		wanted int64
		left   int64
	}{
		{"fits exactly", amount(60, 70), resources.None, 0, 0},
		{"memory", amount(61, 70), resources.Memory, 61, 60},
		{"disk", amount(60, 71), resources.Disk, 71, 70},
		{"both", amount(61, 71), resources.Disk, 71, 70},
		{"largest values", amount(math.MaxInt64-40, 0), resources.Memory, math.MaxInt64 - 40, 60},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 100, DiskBytes: 100})
			_, err := ledger.Reserve(amount(40, 30))
			require.NoError(t, err)

			assert.Equal(t, tc.short, ledger.Constrained(tc.want))
			assert.Equal(t, tc.short == resources.None, ledger.Fits(tc.want))
			_, err = ledger.Reserve(tc.want)
			if tc.short == resources.None {
				require.NoError(t, err)
				assert.Equal(t, amount(0, 0), ledger.Remaining())
				return
			}
			var short *resources.InsufficientError
			require.ErrorAs(t, err, &short)
			assert.Equal(t, resources.InsufficientError{Resource: tc.short, Wanted: tc.wanted, Remaining: tc.left}, *short)
			assert.Equal(t, amount(40, 30), ledger.Reserved())
		})
	}
}

func TestOverbookedLedgerRefusesGrowthOnly(t *testing.T) {
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 10, DiskBytes: 10})
	resumed, err := ledger.ReserveAlways(amount(25, 5))
	require.NoError(t, err)
	assert.Equal(t, amount(-15, 5), ledger.Remaining())
	assert.Zero(t, ledger.Reservable(amount(1, 1)))

	_, err = ledger.Reserve(amount(0, 5))
	require.NoError(t, err, "disk alone fits")
	assert.Error(t, resumed.Resize(amount(26, 5)))
	require.NoError(t, resumed.Resize(amount(20, 5)), "shrinking is allowed although it still does not fit")
	assert.Equal(t, amount(-10, 0), ledger.Remaining())
}

func TestCrashedInstanceKeepsDisk(t *testing.T) {
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 10, DiskBytes: 10})
	instance, err := ledger.Reserve(amount(10, 6))
	require.NoError(t, err)
	require.NoError(t, instance.Resize(amount(0, 6)))
	assert.Equal(t, amount(10, 4), ledger.Remaining())

	instance.Release()
	instance.Release()
	assert.Equal(t, amount(10, 10), ledger.Remaining())
	assert.ErrorIs(t, instance.Resize(amount(1, 1)), resources.ErrReleased)
	assert.Zero(t, instance.Amount())
}

func TestInvalidAmounts(t *testing.T) {
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: math.MaxInt64, DiskBytes: math.MaxInt64})
	held, err := ledger.ReserveAlways(amount(math.MaxInt64, 1))
	require.NoError(t, err)
	for _, a := range []resources.Amount{amount(-1, 0), amount(0, -1), amount(1, 0), amount(0, math.MaxInt64)} {
		_, err := ledger.ReserveAlways(a)
		assert.ErrorIs(t, err, resources.ErrInvalidAmount, "%+v", a)
	}
	assert.ErrorIs(t, held.Resize(amount(-1, 0)), resources.ErrInvalidAmount)
	assert.False(t, ledger.Fits(amount(-1, 0)))
	assert.False(t, ledger.Fits(amount(0, -1)))
	assert.Equal(t, amount(math.MaxInt64, 1), ledger.Reserved())
}

func TestReservable(t *testing.T) {
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 1000, DiskBytes: 500})
	for _, tc := range []struct {
		a    resources.Amount
		want int
	}{
		{amount(100, 100), 5},
		{amount(300, 1), 3},
		{amount(1000, 500), 1},
		{amount(1001, 1), 0},
		{amount(0, 1), 0},
		{amount(1, 0), 0},
		{amount(-1, -1), 0},
	} {
		assert.Equal(t, tc.want, ledger.Reservable(tc.a), "%+v", tc.a)
	}
}

func TestOvercommit(t *testing.T) {
	c := resources.Capacity{MemoryBytes: 1<<60 + 1, DiskBytes: 101}
	assert.Equal(t, resources.Capacity{MemoryBytes: 1<<60 + 1, DiskBytes: 151}, c.Overcommit(1, 1.5))
	assert.Equal(t, resources.Capacity{MemoryBytes: math.MaxInt64}, c.Overcommit(100, math.NaN()))
}

func TestReserveIsAtomic(t *testing.T) {
	const room, workers = 100, 8
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: room, DiskBytes: room})
	var won atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range room {
				if _, err := ledger.Reserve(amount(1, 1)); err == nil {
					won.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, room, won.Load())
	assert.Equal(t, amount(0, 0), ledger.Remaining())
}

// TestLedgerAgainstModel compares the ledger with a plain list of what is held.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := rapid.Int64Range(0, 1000)
		amounts := rapid.Custom(func(t *rapid.T) resources.Amount {
			return amount(bytes.Draw(t, "memory"), bytes.Draw(t, "disk"))
		})
		capacity := resources.Capacity(amounts.Draw(t, "capacity"))
		ledger := resources.NewLedger(capacity)
		var held []*resources.Reservation
		var model []resources.Amount

		sum := func() (s resources.Amount) {
			for _, a := range model {
				s.MemoryBytes += a.MemoryBytes
				s.DiskBytes += a.DiskBytes
			}
			return s
		}
		pick := func(t *rapid.T) int {
			if len(held) == 0 {
				t.Skip("nothing held")
			}
			return rapid.IntRange(0, len(held)-1).Draw(t, "which")
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				a, s := amounts.Draw(t, "amount"), sum()
				fits := (a.MemoryBytes == 0 || s.MemoryBytes+a.MemoryBytes <= capacity.MemoryBytes) &&
					(a.DiskBytes == 0 || s.DiskBytes+a.DiskBytes <= capacity.DiskBytes)
				r, err := ledger.Reserve(a)
				if fits != (err == nil) {
					t.Fatalf("reserve %+v with %+v of %+v taken: %v", a, s, capacity, err)
				}
				if err == nil {
					held, model = append(held, r), append(model, a)
				}
			},
			"reserve always": func(t *rapid.T) {
				a := amounts.Draw(t, "amount")
				r, err := ledger.ReserveAlways(a)
				if err != nil {
					t.Fatal(err)
				}
				held, model = append(held, r), append(model, a)
			},
			"resize": func(t *rapid.T) {
				i, a, s := pick(t), amounts.Draw(t, "amount"), sum()
				old := model[i]
				fits := (a.MemoryBytes <= old.MemoryBytes || s.MemoryBytes-old.MemoryBytes+a.MemoryBytes <= capacity.MemoryBytes) &&
					(a.DiskBytes <= old.DiskBytes || s.DiskBytes-old.DiskBytes+a.DiskBytes <= capacity.DiskBytes)
				err := held[i].Resize(a)
				if fits != (err == nil) {
					t.Fatalf("resize %+v to %+v with %+v of %+v taken: %v", old, a, s, capacity, err)
				}
				if err == nil {
					model[i] = a
				} else if short := new(resources.InsufficientError); !errors.As(err, &short) {
					t.Fatal(err)
				}
			},
			"release": func(t *rapid.T) {
				i := pick(t)
				held[i].Release()
				model[i] = resources.Amount{}
				if rapid.Bool().Draw(t, "forget") {
					held, model = append(held[:i], held[i+1:]...), append(model[:i], model[i+1:]...)
				} else {
					held[i].Release()
					held, model = append(held[:i:i], held[i+1:]...), append(model[:i:i], model[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				if got, want := ledger.Reserved(), sum(); got != want {
					t.Fatalf("reserved %+v, want %+v", got, want)
				}
				a := amounts.Draw(t, "asked")
				n := ledger.Reservable(a)
				for i := range n + 1 {
					k := int64(i + 1)
					fits := ledger.Fits(amount(a.MemoryBytes*k, a.DiskBytes*k))
					if a.MemoryBytes > 0 && a.DiskBytes > 0 && fits != (i < n) {
						t.Fatalf("%d of %+v fit: %v, Reservable says %d", k, a, fits, n)
					}
				}
			},
		})
	})
}
