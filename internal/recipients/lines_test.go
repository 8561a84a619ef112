package recipients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/campaign"
)

func TestReadJSONLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     read
	}{
		{"empty", "\n \n", read{}},
		{
			"all fields", "\ufeff" + `{"email":"Ana@example.com","name":" Ana\nRuiz ","variables":{"n":1.50,"s":"x\ny","b":true,"z":null}}` + "\r\n\r\n" + `{"address":"ben@example.org"}`,
			read{
				Recipients: []campaign.Recipient{
					{Address: "Ana@example.com", Name: "Ana Ruiz", Variables: map[string]string{"n": "1.50", "s": "x\ny", "b": "true", "z": ""}},
					{Address: "ben@example.org"},
				},
				Summary: Summary{Rows: 2, Accepted: 2},
			},
		},
		{
			"invalid and duplicate", `{"email":""}` + "\n" + `{"email":"a@b.c"}` + "\n" + `{"email":"A@B.C"}`,
			read{Recipients: plain("a@b.c"), Summary: Summary{Rows: 3, Accepted: 1, Duplicates: 1, Invalid: 1, InvalidLines: []int{1}}},
		},
		{"no address", `{"name":"Ana"}`, read{Error: "line 1: the entry has no field email"}},
		{"null", `null`, read{Error: "line 1: the entry has no field email"}},
		{"both", `{"email":"a@b.c","address":"a@b.c"}`, read{Error: "line 1: the entry has both email and address: keep one"}},
		{"unknown field", `{"email":"a@b.c","city":"x"}`, read{Error: `line 1: unknown field "city": the fields are email, name and variables`}},
		{"an address as a field", `{"a@b.c":1}`, read{Error: "line 1: not a JSON object"}},
		{"wrong type", `{"email":7}`, read{Error: "line 1: the field email is a number"}},
		{
			"nested variable", `{"email":"a@b.c","variables":{"x":[1]}}`,
			read{Error: "line 1: the value of a variable is a list or an object: use a text, a number, true, false or null"},
		},
		{"a JSON list", "[\n", read{Error: "line 1: not a JSON object"}},
		{"a text", `"a@b.c"`, read{Error: "line 1: not a JSON object: write one object a line, without a list around them"}},
		{"two objects on a line", `{"email":"a@b.c"}{"email":"d@e.f"}`, read{Error: "line 1: text follows the JSON object: write one object a line"}},
		{"not JSON", "\n{email:x}", read{Error: "line 2: not a JSON object"}},
		{
			"NUL in a variable", `{"email":"a@b.c","variables":{"x":"\u0000"}}`,
			read{Summary: Summary{Rows: 1}, Error: `line 1: the variable "x" is not text in UTF-8`},
		},
		{
			"variable without a name", `{"email":"a@b.c","variables":{"":"x"}}`,
			read{Summary: Summary{Rows: 1}, Error: "line 1: a variable has no name"},
		},
		{
			"control character in a variable's name", `{"email":"a@b.c","variables":{"a\nb":"x"}}`,
			read{Summary: Summary{Rows: 1}, Error: "line 1: the name of a variable has a line break or another control character"},
		},
		{
			"too many variables", `{"email":"a@b.c","variables":{` + strings.TrimPrefix(pairs(MaxVariables+1), ",") + `}}`,
			read{Summary: Summary{Rows: 1}, Error: "line 1: the entry has more than 32 variables"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, readAll(test.in, JSONLines)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func pairs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"v%d":%d`, i, i)
	}
	return b.String()
}

func TestReadLines(t *testing.T) {
	t.Parallel()
	in := "\ufeff# our friends\r\n\r\nana@example.com\r\n  Ben Núñez <Ben@example.org>\n\"Cy \\\"C\\\" O'Hara\" <cy@example.net>\n" +
		"<dee@example.com>\nbroken\nana@example.com, ben@example.org\nEve <eve@localhost>\nANA@EXAMPLE.COM"
	want := read{
		Recipients: []campaign.Recipient{
			{Address: "ana@example.com"},
			{Address: "Ben@example.org", Name: "Ben Núñez"},
			{Address: "cy@example.net", Name: `Cy "C" O'Hara`},
			{Address: "dee@example.com"},
		},
		Summary: Summary{Rows: 8, Accepted: 4, Duplicates: 1, Invalid: 3, InvalidLines: []int{7, 8, 9}},
	}
	if diff := cmp.Diff(want, readAll(in, Lines)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
