package framework

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func service(label, name string) Service {
	return Service{Label: label, Name: name, Credentials: &Credentials{Hostname: "h", Port: "3306", User: "u", Password: "p", Name: "d"}}
}

func TestBoundDatabase(t *testing.T) {
	const ambiguous = "Unable to determine primary database from multiple.  Please bind only one database service to Rails applications."
	for name, test := range map[string]struct {
		services   []Service
		want, fail string
	}{
		"none":                   {nil, "", ""},
		"no database":            {[]Service{service("redis-2.2", "r"), {}}, "", ""},
		"one":                    {[]Service{service("redis-2.2", "prod"), service("mysql-5.1", "m")}, "m", ""},
		"two without names":      {[]Service{service("mysql-5.1", ""), service("postgresql-9.0", "")}, "", ambiguous},
		"two, one is x-prod":     {[]Service{service("mysql-5.1", "m"), service("mysql-5.1", "x-prod")}, "x-prod", ""},
		"two, one is production": {[]Service{service("mysql-5.1", "production"), service("postgresql-9.0", "p")}, "production", ""},
		"two, none for that":     {[]Service{service("mysql-5.1", "products"), service("mysql-5.1", "m")}, "", ambiguous},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := boundDatabase(test.services)
			if test.fail != "" {
				require.EqualError(t, err, test.fail)
				return
			}
			require.NoError(t, err)
			if test.want == "" {
				assert.Nil(t, got)
			} else {
				assert.Equal(t, test.want, got.Name)
			}
		})
	}
}

func TestDatabaseSettings(t *testing.T) {
	want := func(adapter string) map[string]any {
		return map[string]any{
			"adapter": adapter, "encoding": "utf8", "pool": 5, "reconnect": false,
			"host": "h", "port": 3306, "username": "u", "password": "p", "database": "d",
		}
	}
	for name, test := range map[string]struct {
		label, in string
		others    map[string]any
	}{
		"no file":            {"mysql-5.1", "", nil},
		"an empty file":      {"postgresql-9.0", "---\n", nil},
		"others stay":        {"mysql", "test: {a: 1}\n# why\nproduction: {adapter: sqlite3, x: y}\n", map[string]any{"test": map[string]any{"a": 1}}},
		"others refer to it": {"mysql", "production: &p {a: 1}\ntest: *p\n", map[string]any{"test": want("mysql2")}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := withProduction([]byte(test.in), service(test.label, ""))
			require.NoError(t, err)
			assert.True(t, strings.HasPrefix(out, "---\n"))
			var got map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(out), &got))
			adapter := "postgresql"
			if strings.HasPrefix(test.label, "mysql") {
				adapter = "mysql2"
			}
			assert.Equal(t, want(adapter), got["production"])
			delete(got, "production")
			if test.others == nil {
				test.others = map[string]any{}
			}
			assert.Equal(t, test.others, got)
		})
	}
}

// What looks like something else in YAML stays text.
func TestCredentialsStayText(t *testing.T) {
	for _, password := range []string{"123", "yes", "null", "a: b", "'\"", "- x", "#x", "", "<%= 1 %>", "é\n", "!x", "*a", "&a"} {
		s := service("mysql", "")
		s.Credentials.Password, s.Credentials.Port = password, "0x10"
		out, err := withProduction(nil, s)
		require.NoError(t, err)
		var got map[string]map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(out), &got), out)
		assert.Equal(t, password, got["production"]["password"], out)
		assert.Equal(t, "0x10", got["production"]["port"])
	}
}

func TestRefusedDatabaseYML(t *testing.T) {
	for _, in := range []string{"[1]", "a: [", "x", "production:\n  a: &x {b: 1}\ntest: *x\n", "? []#0000"} {
		_, err := withProduction([]byte(in), service("mysql", ""))
		var wrong *AppError
		require.ErrorAs(t, err, &wrong, in)
		assert.ErrorContains(t, err, "config/database.yml")
		assert.NotContains(t, err.Error(), "password")
	}
	tree := &Tree{Properties: Properties{Services: []Service{{Label: "mysql-5.1"}}}}
	require.EqualError(t, configureDatabase(tree), "Database binding failed to include credentials")
}

func TestAliasBombIsNotExpanded(t *testing.T) {
	in := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for last := byte('a'); last < 'j'; last++ {
		in += fmt.Sprintf("%c: &%c [%s]\n", last+1, last+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", last), 10), ","))
	}
	out, err := withProduction([]byte(in), service("mysql", ""))
	require.NoError(t, err)
	assert.Less(t, len(out), 4*len(in))
}

func FuzzDatabaseYML(f *testing.F) {
	for _, in := range []string{"", "a: &x {b: 1}\nproduction: *x\n", "production: &p {<<: *p}", "? [a]\n: b\n", "- x", "production: ~\nproduction: 1", "? []#0000"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := withProduction(data, service("mysql-5.1", ""))
		if err != nil {
			return
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		top, found := doc.Content[0], 0
		for i := 0; i+1 < len(top.Content); i += 2 {
			if top.Content[i].Value == "production" && top.Content[i+1].Kind == yaml.MappingNode && top.Content[i+1].Content[1].Value == "mysql2" {
				found++
			}
		}
		if found == 0 {
			t.Fatalf("%q became %q", data, out)
		}
	})
}
