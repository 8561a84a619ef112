package options_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestRecordRetention(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": 0, "0s": 0, "1h": time.Hour, "720h": 720 * time.Hour} {
		var a all
		if err := a.command().Load(nil, lookup(with(map[string]string{"RECORD_RETENTION": text})), &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		if got := a.Facade.RecordRetention; got != want {
			t.Errorf("RECORD_RETENTION=%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"30", "59m", "-1h"} {
		var a all
		err := a.command().Load(nil, lookup(with(map[string]string{"RECORD_RETENTION": text})), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), "RECORD_RETENTION: ") {
			t.Errorf("RECORD_RETENTION=%s: got %v", text, err)
		}
	}
}
