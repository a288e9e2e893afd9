package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// TestStagingThatIsDisabled: such a DEA hears nothing about staging, and offers none (the original offered it).
func TestStagingThatIsDisabled(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		t.Run(fmt.Sprint(enabled), func(t *testing.T) {
			s := newSite(t)
			monitor := programtest.FreePort(t)
			s.Server = messagingtest.NewServer(t, func(o *natsserver.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", monitor })
			peer := s.Server.Connect()
			heard := make(chan *nats.Msg, 1000)
			for _, subject := range []string{"dea.advertise", "staging.advertise"} {
				_, err := peer.ChanSubscribe(subject, heard)
				require.NoError(t, err)
			}
			require.NoError(t, peer.Flush())
			s.cfg["nats_servers"] = []string{s.Server.URL()}
			s.cfg["staging"] = object{"enabled": enabled}
			s.cfg["intervals"] = object{"advertise": 1}
			s.start()

			var offer object
			staging := 0
			for offers := 0; offers < 3; {
				select {
				case msg := <-heard:
					if msg.Subject == "staging.advertise" {
						staging++
						continue
					}
					offers++
					require.NoError(t, json.Unmarshal(msg.Data, &offer))
				case <-time.After(30 * time.Second):
					t.Fatal("no offer")
				}
			}
			subjects := subscriptions(t, monitor)
			assert.Contains(t, subjects, fmt.Sprintf("dea.%s.start", offer["id"]))
			of := func(subject string) bool {
				return strings.HasPrefix(subject, "staging") && subject != "staging.advertise" || subject == "buildpacks"
			}
			if !enabled {
				assert.Zero(t, staging)
				assert.Empty(t, slices.DeleteFunc(subjects, func(s string) bool { return !of(s) }))
				return
			}
			assert.NotZero(t, staging)
			assert.Subset(t, subjects, []string{
				"staging", "staging.locate", "staging.stop", "buildpacks", fmt.Sprintf("staging.%s.start", offer["id"]),
			})
		})
	}
}

// subscriptions returns the subjects that a NATS server has, by its monitoring port.
func subscriptions(t *testing.T, port int) (subjects []string) {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/subsz?subs=1", port))
	require.NoError(t, err)
	defer resp.Body.Close()
	var list struct {
		Subscriptions []struct {
			Subject string `json:"subject"`
		} `json:"subscriptions_list"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&list))
	for _, s := range list.Subscriptions {
		subjects = append(subjects, s.Subject)
	}
	return subjects
}
