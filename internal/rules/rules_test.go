package rules_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/rules"
)

type word string

type leaf struct {
	Word  word    `json:"word" validate:"token"`
	Ratio float64 `json:"ratio,omitempty" validate:"gte=0.5"`
}

type Base struct {
	ID string `json:"id" validate:"required"`
}

type tree struct {
	Base
	Name    string          `json:"name" validate:"required"`
	Pointer *string         `json:"pointer" validate:"required"`
	Number  *int            `json:"number" validate:"required,gte=3"`
	List    []int           `json:"list" validate:"required"`
	Short   []leaf          `json:"short" validate:"max=2,dive"`
	Ports   map[string]leaf `json:"ports" validate:"dive"`
	Links   []*leaf         `json:"links" validate:"dive"`
	Pair    []string        `json:"pair" validate:"len=2"`
	Label   string          `json:"label" validate:"max=3"`
	Port    uint16          `json:"port" validate:"gte=1"`
	Inner   leaf            `json:"inner"`
	Maybe   *leaf           `json:"maybe"`
	Any     any             `json:"any"`
	Left    []leaf          `json:"left"` // not looked into
	Child   *tree           `json:"child"`
	When    time.Time       `json:"when" validate:"required"`
	hidden  leaf
}

func isToken(s string) bool { return s == "tcp" || s == "udp" }

// The validator that the tags are from is the judge.
func TestAgainstTheValidator(t *testing.T) {
	judge := validator.New(validator.WithRequiredStructEnabled())
	judge.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		return name
	})
	require.NoError(t, judge.RegisterValidation("token", func(fl validator.FieldLevel) bool { return isToken(fl.Field().String()) }))
	set := rules.New(map[string]func(string) bool{"token": isToken})
	require.NoError(t, set.Learn(reflect.TypeFor[tree]()))

	empty, three, good := "", 3, leaf{"tcp", 1}
	fine := func() tree {
		return tree{
			Base: Base{"1"}, Name: "n", Pointer: &empty, Number: &three, List: []int{}, Pair: []string{"", ""}, Label: "äöü", Port: 1,
			Inner: good, When: time.Unix(1, 0),
		}
	}
	for name, change := range map[string]func(*tree){
		"fine":              func(*tree) {},
		"all that is zero":  func(v *tree) { *v = tree{} },
		"pointer":           func(v *tree) { v.Pointer, v.Number = nil, nil },
		"number":            func(v *tree) { n := 2; v.Number = &n },
		"nil list":          func(v *tree) { v.List = nil },
		"too many":          func(v *tree) { v.Short = []leaf{{}, {}, {}} },
		"elements":          func(v *tree) { v.Short = []leaf{good, {"x", 0.4}} },
		"of a map":          func(v *tree) { v.Ports = map[string]leaf{"a": {"x", 1}} },
		"pointers":          func(v *tree) { v.Links = []*leaf{&good, nil, {"tcp", 0}} },
		"pair":              func(v *tree) { v.Pair = v.Pair[:1] },
		"characters":        func(v *tree) { v.Label = "äöüß" },
		"port":              func(v *tree) { v.Port = 0 },
		"inner":             func(v *tree) { v.Inner.Word = "" },
		"behind a pointer":  func(v *tree) { v.Maybe = &leaf{} },
		"in an interface":   func(v *tree) { v.Any = &leaf{} },
		"text in interface": func(v *tree) { v.Any = "x" },
		"without dive":      func(v *tree) { v.Left = []leaf{{}} },
		"recursion":         func(v *tree) { c := fine(); c.Name, c.ID = "", ""; v.Child = &c },
		"embedded":          func(v *tree) { v.ID = "" },
		"hidden":            func(v *tree) { v.hidden = leaf{} },
		"no time":           func(v *tree) { v.When = time.Time{} },
	} {
		value := fine()
		change(&value)
		var want []rules.Breach
		if fields := (validator.ValidationErrors)(nil); errors.As(judge.Struct(&value), &fields) {
			for _, f := range fields {
				want = append(want, rules.Breach{Path: jsonPath(f.Namespace()), Rule: f.Tag(), Param: f.Param()})
			}
		}
		assert.Equal(t, want, set.Check(reflect.ValueOf(&value)), name)
	}
	assert.Nil(t, set.Check(reflect.ValueOf(7)), "nothing to check")
	assert.Nil(t, set.Check(reflect.ValueOf((*tree)(nil))))
}

// jsonPath drops the names of types from a path of the validator.
func jsonPath(namespace string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(namespace, "."), func(part string) bool { return part == "tree" || part == "Base" }), ".")
}

func TestLongKey(t *testing.T) {
	type holder struct {
		Ports map[string]leaf `json:"ports" validate:"dive"`
	}
	set := rules.New(map[string]func(string) bool{"token": isToken})
	found := set.Check(reflect.ValueOf(holder{map[string]leaf{strings.Repeat("k", 1000): {"x", 1}}}))
	assert.Equal(t, []rules.Breach{{"ports[" + strings.Repeat("k", 40) + "].word", "token", ""}}, found, "it goes into error texts")
}

func TestTagsThatCannotBeUsed(t *testing.T) {
	type inner struct {
		A int `validate:"token"`
	}
	for text, v := range map[string]any{
		`no rule "ip"`: struct {
			A string `validate:"ip"`
		}{},
		"needs a number": struct {
			A string `validate:"gte=x"`
		}{},
		"is for numbers": struct {
			A bool `validate:"gte=1"`
		}{},
		`"gte=1" after`: struct {
			A []int `validate:"dive,gte=1"`
		}{},
		"is for texts": []map[string]*inner{},
		"inner.A: token ": struct {
			B struct {
				C []inner `validate:"dive"`
			}
		}{},
	} {
		set := rules.New(map[string]func(string) bool{"token": isToken})
		err := set.Learn(reflect.TypeOf(v))
		assert.ErrorContains(t, err, text)
	}
	set := rules.New(nil)
	assert.Panics(t, func() {
		set.Check(reflect.ValueOf(struct {
			A int `validate:"nope"`
		}{}))
	})
}
