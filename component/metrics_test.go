package component_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/component"
)

// parse reads metrics as Prometheus does.
func parse(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err, "%s", text)
	return families
}

func TestWriteMetrics(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, component.WriteMetrics(&out, []component.Metric{
		component.NewGauge("z", "Last.", 1.5),
		component.NewCounter("a_total", "With \\ and\nnewline.", 12345678901),
		{Name: "m", Kind: component.Gauge, Samples: []component.Sample{
			{Labels: map[string]string{"b": "2", "a": "x"}, Value: 2},
			{Labels: map[string]string{"a": "q\"\\\n\xff"}, Value: math.Inf(-1)},
			{Value: math.NaN()},
		}},
		{Name: "none", Help: "No samples.", Kind: component.Counter},
	}))
	assert.Equal(t, `# HELP a_total With \\ and\nnewline.
# TYPE a_total counter
a_total 1.2345678901e+10
# HELP m 
# TYPE m gauge
m NaN
m{a="q\"\\\n`+"\uFFFD"+`"} -Inf
m{a="x",b="2"} 2
# HELP none No samples.
# TYPE none counter
# HELP z Last.
# TYPE z gauge
z 1.5
`, out.String())

	families := parse(t, out.Bytes())
	assert.Equal(t, "With \\ and\nnewline.", families["a_total"].GetHelp())
	assert.Equal(t, dto.MetricType_COUNTER, families["a_total"].GetType())
	assert.Equal(t, 12345678901.0, families["a_total"].Metric[0].Counter.GetValue())
	assert.Equal(t, "q\"\\\n\uFFFD", families["m"].Metric[1].Label[0].GetValue())
	assert.Equal(t, math.Inf(-1), families["m"].Metric[1].Gauge.GetValue())
}

func TestMetricsThatAreRefused(t *testing.T) {
	sample := func(labels ...map[string]string) component.Metric {
		m := component.Metric{Name: "m", Kind: component.Gauge}
		for _, l := range labels {
			m.Samples = append(m.Samples, component.Sample{Labels: l})
		}
		return m
	}
	for text, metrics := range map[string][]component.Metric{
		"no name of a metric":          {component.NewGauge("1x", "", 0)},
		"unknown kind":                 {{Name: "m"}},
		"m is there twice":             {component.NewGauge("m", "", 0), component.NewCounter("m", "", 0)},
		`"a-b" of m is no name`:        {sample(map[string]string{"a-b": ""})},
		`"__name__" of m is no name`:   {sample(map[string]string{"__name__": "x"})},
		`m{a="1"} is there twice`:      {sample(map[string]string{"a": "1"}, map[string]string{"a": "1"})},
		`"a\nb 1" is no name of a`:     {component.NewGauge("a\nb 1", "", 0)},
		`"" of m is no name of a labe`: {sample(map[string]string{"": "x"})},
	} {
		var out bytes.Buffer
		err := component.WriteMetrics(&out, metrics)
		assert.ErrorIs(t, err, component.ErrMetric)
		assert.ErrorContains(t, err, text)
		assert.Empty(t, out.String())
	}
}

func TestWriteMetricsTellsThatItCouldNot(t *testing.T) {
	assert.ErrorIs(t, component.WriteMetrics(failing{}, []component.Metric{component.NewGauge("m", "", 0)}), errFull)
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestMetricsOfAComponent(t *testing.T) {
	var counts component.LogCounts
	c, err := component.New(component.Config{
		Type: "DEA", Index: 2, UUID: "2-x", User: "u", Password: "p", LogCounts: &counts,
		Metrics: func(context.Context) []component.Metric {
			return []component.Metric{component.NewGauge("dea_instances", "Instances.", 4)}
		},
	})
	require.NoError(t, err)
	resp := answer(c.Handler(), "GET", "/metrics", "u", "p")
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", resp.Header().Get("Content-Type"))
	families := parse(t, resp.Body.Bytes())
	assert.Equal(t, 4.0, families["dea_instances"].Metric[0].Gauge.GetValue())
	assert.Len(t, families["component_log_lines_total"].Metric, 7)
	assert.Greater(t, families["process_cpu_seconds_total"].Metric[0].Counter.GetValue(), 0.0)
	for _, name := range []string{
		"process_resident_memory_bytes", "host_memory_used_bytes", "host_memory_free_bytes", "component_uptime_seconds",
	} {
		assert.Greater(t, families[name].GetMetric()[0].Gauge.GetValue(), 0.0, name)
	}
	assert.Contains(t, families, "host_load1")
	labels := map[string]string{}
	for _, l := range families["component_info"].Metric[0].Label {
		labels[l.GetName()] = l.GetValue()
	}
	assert.Equal(t, map[string]string{"type": "DEA", "index": "2", "uuid": "2-x"}, labels)
}
