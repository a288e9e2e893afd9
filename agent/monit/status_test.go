package monit_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/messaging"
)

// document is a status as monit 5.2 of stemcells writes it.
const document = `<?xml version="1.0" encoding="ISO-8859-1"?>
<monit id="60ae0ea1" incarnation="1361554104" version="5.2.4"><server><uptime>1</uptime></server><platform><name>Linux</name></platform>
<services>
<service name="nats"><type>3</type><status>0</status><monitor>1</monitor><pendingaction>0</pendingaction><uptime>880183</uptime>
<children>0</children><memory><percent>0.1</percent><percenttotal>0.2</percenttotal><kilobyte>4004</kilobyte><kilobytetotal>5004</kilobytetotal></memory>
<cpu><percent>0.3</percent><percenttotal>0.4</percenttotal></cpu></service>
<service name="s` + "\xfc" + `d"><type>3</type><status>512</status><status_message>fehlt f` + "\xfc" + `r immer</status_message><monitor>1</monitor><pendingaction>0</pendingaction></service>
<service name="vm"><type>5</type><status>0</status><monitor>1</monitor><pendingaction>0</pendingaction><system><load><avg01>0.01</avg01><avg05>0.02</avg05><avg15>0.03</avg15></load>
<cpu><user>1.5</user><system>2.5</system><wait>3.5</wait></cpu><memory><percent>15.4</percent><kilobyte>145996</kilobyte></memory><swap><percent>1.5</percent><kilobyte>7</kilobyte></swap></system></service>
</services>
<servicegroups><servicegroup name="vcap"><service>s` + "\xfc" + `d</service><service>nats</service></servicegroup><servicegroup name="other"><service>vm</service></servicegroup></servicegroups></monit>`

func TestParseStatus(t *testing.T) {
	status, err := monit.ParseStatus(strings.NewReader(document))
	require.NoError(t, err)
	assert.Equal(t, "1361554104", status.Incarnation)
	assert.Equal(t, "5.2.4", status.Version)
	assert.Equal(t, map[string][]string{"vcap": {"süd", "nats"}, "other": {"vm"}}, status.Groups)
	vcap := status.Group("vcap")
	require.Len(t, vcap, 2)
	assert.Equal(t, messaging.AgentProcess{
		Name: "nats", State: messaging.JobRunning, Uptime: messaging.AgentUptime{Seconds: 880183},
		Memory: messaging.AgentProcessMemory{KB: 5004, Percent: 0.2}, CPU: messaging.AgentProcessCPU{Total: 0.4},
	}, vcap[0].Process())
	assert.Equal(t, "fehlt für immer", vcap[1].Message)
	assert.True(t, vcap[1].Failed())
	assert.Equal(t, messaging.JobFailing, vcap[1].Process().State)
	assert.Empty(t, status.Group("none"))
	system := status.Services[2].System
	assert.Equal(t, []monit.Figure{0.01, 0.02, 0.03, 1.5, 2.5, 3.5}, []monit.Figure{system.Load1, system.Load5, system.Load15, system.User, system.System, system.Wait})
	assert.EqualValues(t, 145996, system.Memory.KB)

	one, err := monit.ParseStatus(strings.NewReader(`<monit><server><id>i</id><incarnation>7</incarnation><version>5.1</version></server>` +
		`<services><service name="a"><monitor>2</monitor></service></services><servicegroups><servicegroup name="vcap"><service>a</service></servicegroup></servicegroups></monit>`))
	require.NoError(t, err)
	assert.Equal(t, "7", one.Incarnation)
	require.Len(t, one.Group("vcap"), 1)
	assert.Equal(t, messaging.JobStarting, one.Group("vcap")[0].Process().State)
	assert.Equal(t, messaging.JobUnknown, monit.Service{}.Process().State, "it is not monitored")

	for _, text := range []string{"", "<monit>", "<html></html>", "nonsense", `<?xml version="1.0" encoding="EBCDIC"?><monit/>`, `<monit><services><service><status>x</status></service></services></monit>`} {
		_, err := monit.ParseStatus(strings.NewReader(text))
		require.Error(t, err, text)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add(document)
	f.Fuzz(func(t *testing.T, text string) {
		status, err := monit.ParseStatus(strings.NewReader(text))
		if err != nil {
			return
		}
		for group := range status.Groups {
			for _, s := range status.Group(group) {
				_, err := json.Marshal(s.Process())
				require.NoError(t, err)
				require.Equal(t, s.Name, s.Process().Name)
			}
		}
	})
}

// printf of a figure that nobody has yet is "nan" or "-nan". It must neither hide the services nor end up in JSON, which has none.
func TestFiguresThatAreNone(t *testing.T) {
	for _, figure := range []string{"nan", "-nan", "inf", "-inf", "1e999"} {
		text := `<monit><services><service name="a"><type>3</type><status>0</status><monitor>1</monitor><memory><percenttotal>` + figure +
			`</percenttotal></memory><cpu><percenttotal>` + figure + `</percenttotal></cpu></service></services>` +
			`<servicegroups><servicegroup name="vcap"><service>a</service></servicegroup></servicegroups></monit>`
		status, err := monit.ParseStatus(strings.NewReader(text))
		require.NoError(t, err, figure)
		process := status.Group("vcap")[0].Process()
		assert.Equal(t, messaging.JobRunning, process.State)
		_, err = json.Marshal(process)
		assert.NoError(t, err, figure)
		assert.Zero(t, process.CPU.Total, figure)
	}
}

// Whatever answers in place of monit, its document must not fill the memory.
func TestDocumentThatIsTooDeep(t *testing.T) {
	_, err := monit.ParseStatus(strings.NewReader("<monit>" + strings.Repeat("<a>", 1<<20)))
	assert.ErrorContains(t, err, "deep")
}
