package bull

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzMembers: the quick reader sees in any text what encoding/json sees.
func FuzzMembers(f *testing.F) {
	for _, text := range []string{
		``, `{}`, ` { } `, `null`, `[]`, `"{"`, `{`, `{"a":1}`, `{"a":1,"b":"x"}`, `{ "a" : { "b" : [1,{"c":"}"}] } , "d" : "\"," }`,
		`{"a":[],"a":null}`, `{"":"\\"}`, `{"a":true,"b":false,"c":-1e5}`, `{"a":1}x`, `{"a:b,c}":"{[\u0022"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, `\u`) || strings.Contains(text, `\/`) {
			return // escaped names are not recognized
		}
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &want) != nil {
			want = nil
		}
		var got map[string]json.RawMessage
		if strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text)) {
			got = map[string]json.RawMessage{}
		}
		escaped := false
		members(text, func(name string, value []byte) {
			escaped = escaped || strings.Contains(name, `\`) || strings.ToValidUTF8(name, "") != name
			got[name] = value
		})
		if diff := cmp.Diff(want, got); diff != "" && !escaped {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	})
}
