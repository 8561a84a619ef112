package options_test

import (
	"testing"

	"github.com/cartero-mail/cartero/internal/options"
)

func TestSwitched(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		want bool
	}{
		{name: "neither flag nor variable"},
		{name: "flag", args: []string{"--service-port=0", "--embedded"}, want: true},
		{name: "one dash", args: []string{"-embedded"}, want: true},
		{name: "flag with a value", args: []string{"--embedded=yes"}, want: true},
		{name: "variable", env: map[string]string{"EMBEDDED": " True\n"}, want: true},
		{name: "the flag outranks the variable", args: []string{"--embedded=false"}, env: map[string]string{"EMBEDDED": "1"}},
		{name: "the last flag counts", args: []string{"--embedded", "--embedded=no"}},
		{name: "no flag", args: []string{"embedded", "--embedded-not"}},
		{name: "what is wrong is left to Load", args: []string{"--embedded=perhaps"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := options.Switched(test.args, lookup(test.env), options.EmbeddedVariable); got != test.want {
				t.Errorf("Switched = %t, want %t", got, test.want)
			}
		})
	}
}
