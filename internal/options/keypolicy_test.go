package options_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/options"
)

// The first 8 digits of the SHA-256 of key-one and key-two.
const idOne, idTwo = "9b346041", "c8df5146"

func loadPolicies(policy string) ([]options.KeyPolicy, error) {
	var a all
	err := a.command().Load(nil, lookup(with(map[string]string{"API_KEY": "key-one,key-two,key-three", "API_KEY_POLICY": policy})), &bytes.Buffer{})
	return a.Facade.Policies, err
}

func TestKeyPolicies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, policy string
		want         []options.KeyPolicy
	}{
		{"none", "", nil},
		{"no policy in it", "{}", nil},
		{"one for all", `{"app": {"rate": "50/s"}}`, []options.KeyPolicy{
			{Name: "app", Keys: []string{"key-one", "key-two", "key-three"}, Requests: 50, Per: time.Second},
		}},
		{
			"two keys of one program, and all others",
			`{"rest": {"senders": ["Example.com", "*.example.org"]}, "app-1": {"keys": ["` + idTwo + `", "` + idOne + `"], "rate": "1000/h"}}`,
			[]options.KeyPolicy{
				{Name: "app-1", Keys: []string{"key-two", "key-one"}, Requests: 1000, Per: time.Hour},
				{Name: "rest", Keys: []string{"key-three"}, Senders: []string{"example.com", "*.example.org"}},
			},
		},
		{"only a name", `{"app": {"keys": ["` + idOne + `"]}}`, []options.KeyPolicy{{Name: "app", Keys: []string{"key-one"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := loadPolicies(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeyPoliciesAreRefused(t *testing.T) {
	t.Parallel()
	const form = `; it reads {"name": {"keys": ["first 8 digits of the key's SHA-256"], "rate": "50/s", "senders": ["example.com"]}}, each of the three optional`
	tests := []struct{ name, policy, want string }{
		{"no JSON", `hunter2`, `is no JSON of the right form` + form},
		{"a list", `["hunter2"]`, `is no JSON of the right form` + form},
		{"an unknown field", `{"app": {"hunter2": 1}}`, `is no JSON of the right form` + form},
		{"two objects", `{} {"hunter2": {}}`, `has something behind the JSON object` + form},
		{"a key as name", `{"` + strings.Repeat("hunter2", 5) + `": {}}`, `has a name that is not 1 to 31 lower-case letters, digits and dashes` + form},
		{"no id", `{"app": {"keys": ["hunter2"]}}`, `app.keys[0]: must be the first 8 or more hexadecimal digits of a key's SHA-256: printf %s KEY | sha256sum`},
		{"an unknown id", `{"app": {"keys": ["00000000"]}}`, `app.keys[0]: is the id of no key in API_KEY`},
		{"an id twice", `{"a": {"keys": ["` + idOne + `"]}, "b": {"keys": ["` + idTwo + `", "` + idOne + `"]}}`, `b.keys[1]: is named twice`},
		{"no ids", `{"app": {"keys": []}}`, `app.keys: must not be empty: leave it out for all keys that no other policy names`},
		{"two for all others", `{"a": {}, "b": {}}`, `b.keys: is required: another policy without it is that of all other keys already`},
		{"no rate", `{"app": {"rate": "hunter2"}}`, `app.rate: must be a number of requests per s, m or h, such as 50/s or 1000/h`},
		{"rate of nothing", `{"app": {"rate": "0/s"}}`, `app.rate: must be a number of requests per s, m or h, such as 50/s or 1000/h`},
		{"no senders", `{"app": {"senders": []}}`, `app.senders: must not be empty: leave it out for any domain`},
		{
			"an address as sender", `{"app": {"senders": ["example.com", "hunter2@example.com"]}}`,
			`app.senders[1]: must be a domain in ASCII (A-labels), such as example.com, or *.example.com for all below it`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := loadPolicies(tt.policy)
			if err == nil {
				t.Fatal("nothing was refused")
			}
			want := "wrong settings (see cartero everything --help):\n  API_KEY_POLICY: " + tt.want
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
