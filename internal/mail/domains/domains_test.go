package domains_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/internal/mail/domains"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]domains.Group{
		"":    nil,
		" ; ": nil,
		"gmail.com, GoogleMail.com.=600/1m": {
			{Domains: []string{"gmail.com", "googlemail.com"}, Messages: 600, Period: time.Minute, Burst: 1},
		},
		"outlook.com=20/s,burst=5,connections=3;*.example.com=connections=2; *=1000/1h;": {
			{Domains: []string{"outlook.com"}, Messages: 20, Period: time.Second, Burst: 5, Connections: 3},
			{Domains: []string{"*.example.com"}, Connections: 2},
			{Domains: []string{"*"}, Messages: 1000, Period: time.Hour, Burst: 1},
		},
		"xn--bcher-kva.example=1/90s": {
			{Domains: []string{"xn--bcher-kva.example"}, Messages: 1, Period: 90 * time.Second, Burst: 1},
		},
	} {
		got, err := domains.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Parse(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"gmail.com":                       `"gmail.com" has no =`,
		"gmail.com=":                      `has ""`,
		"=600/1m":                         `has no domain in ""`,
		"a..b=600/1m":                     `"a..b", which is no domain`,
		"*=1/s;*.*=600/1m":                `"*.*", which is no domain`,
		"bücher.example=1/s":              "A-labels",
		"gmail.com=600":                   `has "600": a limit is`,
		"gmail.com=0/1m":                  "from 1 to 1000000",
		"gmail.com=600/0s":                "the period must be from 1s to 24h",
		"gmail.com=600/1m,700/1m":         "each once",
		"gmail.com=600/1m,speed=1":        `has "speed=1"`,
		"gmail.com=600/1m,burst=601":      "larger than 600",
		"gmail.com=burst=6,connections=1": "a burst and no rate",
		"gmail.com=burst=6":               "neither a rate",
		"gmail.com=connections=1001":      "from 1 to 1000",
		"a.com=1/s;b.com,A.com=2/s":       "names a.com, which is in a group already",
		"a.com=x;b.com=y":                 `"b.com=y" has "y"`,
	} {
		_, err := domains.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %s", text, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	groups, err := domains.Parse("example.com=1/s;*.example.com=2/s;*.deep.example.com,other.net=3/s")
	if err != nil {
		t.Fatal(err)
	}
	rest, err := domains.Parse("gmail.com=1/s;*=2/s")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		groups  []domains.Group
		address string
		want    int
	}{
		{groups, "ada@example.com", 0},
		{groups, "ada@EXAMPLE.com.", 0},
		{groups, "ada@mail.example.com", 1},
		{groups, "ada@deep.example.com", 1},
		{groups, "ada@very.deep.example.com", 2},
		{groups, "ada@other.net", 2},
		{groups, "ada@mail.other.net", -1},
		{groups, "ada@notexample.com", -1},
		{groups, `"example.com@"@example.org`, -1},
		{groups, "", -1},
		{rest, "ada@example.com", 1},
		{rest, "ada@gmail.com", 0},
		{nil, "ada@gmail.com", -1},
	} {
		if got := domains.NewMatcher(test.groups).Match(test.address); got != test.want {
			t.Errorf("Match(%q) = %d, want %d", test.address, got, test.want)
		}
	}
}
