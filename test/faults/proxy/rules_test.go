package proxy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

type rule = proxy.Rule[string, string]

func TestRulesHitTheirOccurrences(t *testing.T) {
	t.Parallel()
	isA := func(q string) bool { return q == "a" }
	tests := map[string]struct {
		rules []rule
		want  string // of the requests a b a a: which rule hit
	}{
		"none":          {nil, "- - - -"},
		"the first":     {[]rule{{Match: isA}}, "0 - - -"},
		"the second":    {[]rule{{Match: isA, Skip: 1}}, "- - 0 -"},
		"two":           {[]rule{{Match: isA, Times: 2}}, "0 - 0 -"},
		"all":           {[]rule{{Times: proxy.Always}}, "0 0 0 0"},
		"all from then": {[]rule{{Match: isA, Skip: 1, Times: proxy.Always}}, "- - 0 0"},
		"in turn":       {[]rule{{Match: isA}, {Times: 2}}, "0 1 1 -"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rules proxy.Rules[string, string]
			armed := map[*proxy.Armed[string, string]]string{nil: "-"}
			for i, r := range test.rules {
				armed[rules.Arm(r)] = string(rune('0' + i))
			}
			var got []string
			for _, q := range []string{"a", "b", "a", "a"} {
				got = append(got, armed[rules.Find(q)])
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("hits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeldUntilReleased(t *testing.T) {
	t.Parallel()
	var rules proxy.Rules[string, string]
	a := rules.Arm(rule{Do: proxy.Hold})
	b := rules.Arm(rule{Do: proxy.Hold, Times: proxy.Always})
	passed := make(chan bool)
	hold := func(ended chan struct{}) {
		found := rules.Find("q")
		go func() {
			found.Note()
			passed <- found.Wait(ended)
		}()
	}
	ended := make(chan struct{})
	hold(ended)
	a.Await(t, 1)
	close(ended)
	if <-passed {
		t.Error("what ended was let go")
	}
	hold(nil)
	hold(nil)
	b.Await(t, 2)
	rules.DisarmAll()
	for range 2 {
		if !<-passed {
			t.Error("what was held was not let go")
		}
	}
	if a.Hits() != 1 || b.Hits() != 2 || rules.Find("q") != nil {
		t.Errorf("hits %d and %d, want 1 and 2, and no rule", a.Hits(), b.Hits())
	}
}
