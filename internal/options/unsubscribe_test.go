package options_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/options"
)

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	const base = "https://mail.example.com/unsubscribe/"
	key, old := strings.Repeat("k", 32), strings.Repeat("o", 32)
	cases := map[string]struct {
		env     map[string]string
		urlOnly bool
		want    []string // the variables that are wrong
	}{
		"nothing":                    {},
		"all":                        {env: map[string]string{"UNSUBSCRIBE_URL": base, "UNSUBSCRIBE_KEY": key, "UNSUBSCRIBE_OLD_KEYS": old + "," + old}},
		"a key alone":                {env: map[string]string{"UNSUBSCRIBE_KEY": key}},
		"a URL alone":                {env: map[string]string{"UNSUBSCRIBE_URL": base}, want: []string{"UNSUBSCRIBE_KEY"}},
		"a URL alone, where it does": {env: map[string]string{"UNSUBSCRIBE_URL": base}, urlOnly: true},
		"http":                       {env: map[string]string{"UNSUBSCRIBE_URL": "http://mail.example.com/", "UNSUBSCRIBE_KEY": key}, want: []string{"UNSUBSCRIBE_URL"}},
		"a short key":                {env: map[string]string{"UNSUBSCRIBE_KEY": key[1:]}, want: []string{"UNSUBSCRIBE_KEY"}},
		"a key with a blank":         {env: map[string]string{"UNSUBSCRIBE_KEY": key + " " + key}, want: []string{"UNSUBSCRIBE_KEY"}},
		"a short old key":            {env: map[string]string{"UNSUBSCRIBE_KEY": key, "UNSUBSCRIBE_OLD_KEYS": old + "," + old[1:]}, want: []string{"UNSUBSCRIBE_OLD_KEYS"}},
		"an old key alone":           {env: map[string]string{"UNSUBSCRIBE_OLD_KEYS": old}, want: []string{"UNSUBSCRIBE_OLD_KEYS"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options.Unsubscribe{URLOnly: c.urlOnly}
			err := options.Command{Name: "x", Areas: []options.Area{&o}}.Load(nil, lookup(c.env), nil)
			var got []string
			if invalid, ok := errors.AsType[*options.InvalidError](err); ok {
				for _, p := range invalid.Problems {
					got = append(got, p.Variable)
				}
				if strings.Contains(err.Error(), "kkkk") || strings.Contains(err.Error(), "oooo") {
					t.Errorf("the error holds a key: %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Fatalf("wrong variables (-want +got):\n%s", diff)
			}
			links, err := o.Links()
			if len(c.want) == 0 && (err != nil || (links != nil) != (o.Key != "")) {
				t.Errorf("Links: got %v and %v", links, err)
			}
			if secrets := options.Secrets(&o); len(c.want) == 0 && len(secrets) != len(o.OldKeys)+min(1, len(o.Key)) {
				t.Errorf("%d secrets are masked", len(secrets))
			}
		})
	}
}
