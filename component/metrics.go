package component

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Kind of metric.
type Kind string

// The kinds that there are.
const (
	Gauge   Kind = "gauge"   // goes up and down
	Counter Kind = "counter" // goes up, or begins anew with the process
)

// A Metric is one figure, or one for each set of labels. By convention its name ends with the unit, and that of a counter
// with "_total": "dea_remaining_memory_bytes", "component_log_lines_total".
type Metric struct {
	Name    string
	Help    string
	Kind    Kind
	Samples []Sample
}

// A Sample is one value of a Metric.
type Sample struct {
	Labels map[string]string // may be nil; values may be any text
	Value  float64
}

// NewGauge returns a gauge without labels.
func NewGauge(name, help string, value float64) Metric { return single(Gauge, name, help, value) }

// NewCounter returns a counter without labels.
func NewCounter(name, help string, value float64) Metric { return single(Counter, name, help, value) }

func single(kind Kind, name, help string, value float64) Metric {
	return Metric{name, help, kind, []Sample{{Value: value}}}
}

// ErrMetric: metrics cannot be written because a name, a kind or a label is wrong, or something stands there twice.
var ErrMetric = errors.New("invalid metric")

// WriteMetrics writes metrics in the text format of Prometheus, version 0.0.4, sorted by name and labels. It
// fails with ErrMetric before anything is written, or with the error of w.
func WriteMetrics(w io.Writer, metrics []Metric) error {
	metrics = slices.Clone(metrics)
	slices.SortFunc(metrics, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	families := make([]family, len(metrics))
	for i, m := range metrics {
		if i > 0 && metrics[i-1].Name == m.Name {
			return fmt.Errorf("%w: %s is there twice", ErrMetric, m.Name)
		}
		var err error
		if families[i], err = newFamily(m); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(w)
	for _, f := range families {
		f.write(out)
	}
	return out.Flush() // and the first error of all writes
}

// A family is a metric that was checked, with its samples in the order in which they are written.
type family struct {
	Metric
	lines []line
}

type line struct {
	labels string // as written, without braces
	value  float64
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func newFamily(m Metric) (family, error) {
	f := family{Metric: m}
	if !metricName.MatchString(m.Name) {
		return f, fmt.Errorf("%w: %q is no name of a metric", ErrMetric, m.Name)
	}
	if m.Kind != Gauge && m.Kind != Counter {
		return f, fmt.Errorf("%w: %s is of unknown kind %q", ErrMetric, m.Name, m.Kind)
	}
	for _, s := range m.Samples {
		labels := make([]string, 0, len(s.Labels))
		for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
			if !labelName.MatchString(name) || strings.HasPrefix(name, "__") {
				return f, fmt.Errorf("%w: %q of %s is no name of a label", ErrMetric, name, m.Name)
			}
			labels = append(labels, name+`="`+escapeLabel(s.Labels[name])+`"`)
		}
		f.lines = append(f.lines, line{strings.Join(labels, ","), s.Value})
	}
	slices.SortFunc(f.lines, func(a, b line) int { return cmp.Compare(a.labels, b.labels) })
	for i := range f.lines {
		if i > 0 && f.lines[i].labels == f.lines[i-1].labels {
			return f, fmt.Errorf("%w: %s{%s} is there twice", ErrMetric, m.Name, f.lines[i].labels)
		}
	}
	return f, nil
}

func (f family) write(w *bufio.Writer) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.Name, escapeHelp(f.Help), f.Name, f.Kind)
	for _, l := range f.lines {
		_, _ = w.WriteString(f.Name) // a bufio.Writer keeps its first error for Flush
		if l.labels != "" {
			_, _ = w.WriteString("{" + l.labels + "}")
		}
		_, _ = w.WriteString(" " + formatValue(l.value) + "\n")
	}
}

// formatValue writes NaN, +Inf and -Inf as the format has them.
func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

var (
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func escapeHelp(s string) string  { return helpEscapes.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
func escapeLabel(s string) string { return labelEscapes.Replace(strings.ToValidUTF8(s, "\uFFFD")) }
