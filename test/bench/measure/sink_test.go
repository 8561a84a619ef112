package measure

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSink talks as a client that sends commands together.
func TestSink(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	done := make(chan struct{})
	var mails []string
	s := &Sink{OnMail: func(recipient []byte, octets int) { mails = append(mails, fmt.Sprintf("%s %d", recipient, octets)) }}
	go func() {
		defer close(done)
		s.session(there)
		_ = there.Close()
	}()
	replies := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(here)
		replies <- all.String()
	}()
	_, err := here.Write([]byte("EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n..\r\nText\r\n.\r\nQUIT\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if got := <-replies; !strings.HasSuffix(got, "354 Go on\r\n250 2.0.0 Taken\r\n221 2.0.0 Bye\r\n") {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"c@d.example 10"}, mails); diff != "" {
		t.Errorf("mails (-want +got):\n%s", diff)
	}
}
