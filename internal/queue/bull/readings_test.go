package bull

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseWorkers(t *testing.T) {
	t.Parallel()
	// "abcdef" has a name that begins like that of "abc"; a program that asks, and one without a name, are no workers.
	list := "id=1 addr=10.0.0.1:5 laddr=10.0.0.9:6379 name=bull:YWJj age=3 idle=1 cmd=brpoplpush user=default\n" +
		"id=2 addr=10.0.0.2:6 name=bull:YWJjZGVm age=3 idle=1\n" +
		"id=3 addr=10.0.0.3:7 name= age=9 idle=0 cmd=client|list\n" +
		"id=4 addr=[::1]:8 name=bull:YWJj age=60 idle=soon\n\n"
	want := []Worker{{"10.0.0.1:5", 3 * time.Second, time.Second}, {"[::1]:8", time.Minute, 0}}
	if diff := cmp.Diff(want, parseWorkers(list, newKeys("bull", "abc").clientName())); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
}

func TestIsJobKey(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "42": true, "mail-1-r2": true, "a:b": true, "repeat:5d41402abc4b2a76b9719d911017c592:1767323045000": true,
		"": false, "wait": false, "repeat": false, "repeat:": false, "repeat:x:lock": false, "a:lock": false, "a:logs": false,
		"limiter:index": false, "metrics:completed": false, "de:x": false,
	} {
		if got := isJobKey(id); got != want {
			t.Errorf("isJobKey(%q) = %v", id, got)
		}
	}
}
