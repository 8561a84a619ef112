package facade

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzFlatObject holds the short way of reading a body against the long one.
func FuzzFlatObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { "to" : "ada@example.com" , "subject":"Hi","body":"<p>\n\"ü\"</p>","message_type":null}` + "\n",
		`{"to":null,"subject":"\u00e4\ud83d\ude00\/\\\b\f\r\t","from":"a@example.com"}`, `{"content_type":"text/plain","x":"y"}`,
		`{"to":"a","to":"b"}`, `{"to":["a"]}`, `{"to":"a",}`, `{"a":"b"} x`, `{"a":"\x"}`, "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}",
		`{"To":"a"}`, `{"\u0074o":"a"}`, `{"a":"b\`, `{"a":"b\"`, `{"a"`, `nul`, `{"a":nullx}`, `{"a":true}`,
		`{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":""}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		members, ok := flatObject(text)
		if !ok {
			return
		}
		var object any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatalf("encoding/json refuses what was read: %v", err)
		}
		if diff := cmp.Diff(object, any(asMap(members))); diff != "" {
			t.Errorf("object (-encoding/json +flat):\n%s", diff)
		}
		var long, short sendRequest
		if err := json.Unmarshal(text, &long); err != nil {
			t.Fatal(err)
		}
		short.set(members)
		if diff := cmp.Diff(long, short, cmp.AllowUnexported(sendRequest{}, addressList{})); diff != "" {
			t.Errorf("request (-encoding/json +flat):\n%s", diff)
		}
	})
}

func TestFlatObjectReadsWhatIsUsual(t *testing.T) {
	t.Parallel()
	want := []member{
		{name: "to", value: "ada@example.com"}, {name: "body", value: "<p>\"Größe\"\n\\/</p>"}, {name: "message_type", null: true},
	}
	got, ok := flatObject([]byte(` {"to" : "ada@example.com", "body":"<p>\"Größe\"\n\\\/</p>","message_type":null } `))
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(member{})); !ok || diff != "" {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
}
