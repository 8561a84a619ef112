package kube_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cartero-mail/cartero/test/faults/proxy"
	"github.com/cartero-mail/cartero/test/faults/proxy/kube"
)

// server is an API server with one path, and a watch that says what it is told to.
type server struct {
	mu    sync.Mutex
	calls []string
	news  chan string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" {
		flush := http.NewResponseController(w).Flush
		_ = flush()
		for {
			select {
			case line := <-s.news:
				_, _ = fmt.Fprintln(w, line)
				_ = flush()
			case <-r.Context().Done():
				return
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
}

func behind(t *testing.T) (*rest.RESTClient, *kube.Proxy, *server) {
	t.Helper()
	s := &server{news: make(chan string)}
	http := httptest.NewServer(s)
	t.Cleanup(http.Close)
	p := kube.New(t, &rest.Config{Host: http.URL})
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.APIPath, config.NegotiatedSerializer = "/apis", scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, p, s
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rule  kube.Rule
		is    func(error) bool
		calls []string
	}{
		"a conflict":      {kube.Rule{Do: proxy.Answer, Reply: kube.Conflict}, apierrors.IsConflict, nil},
		"an error":        {kube.Rule{Do: proxy.Answer, Reply: kube.Internal}, apierrors.IsInternalError, nil},
		"a timeout":       {kube.Rule{Do: proxy.Answer, Reply: kube.Timeout}, apierrors.IsTimeout, nil},
		"cut":             {kube.Rule{Do: proxy.Cut}, func(err error) bool { return err != nil }, nil},
		"the answer lost": {kube.Rule{Do: proxy.Lose}, func(err error) bool { return err != nil }, []string{"PATCH /c/status"}},
		"another method": {
			kube.Rule{Match: kube.Calls("/status", "PUT"), Do: proxy.Cut}, func(err error) bool { return err == nil }, []string{"PATCH /c/status"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, p, s := behind(t)
			if test.rule.Match == nil {
				test.rule.Match = kube.Calls("/status", "PATCH")
			}
			p.Arm(test.rule)
			if err := client.Get().AbsPath("/c/status").Do(t.Context()).Error(); err != nil {
				t.Fatalf("what no rule is for: %v", err)
			}
			if err := client.Patch("application/merge-patch+json").AbsPath("/c/status").Body([]byte("{}")).Do(t.Context()).Error(); !test.is(err) {
				t.Errorf("the request failed with %v", err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if diff := cmp.Diff(append([]string{"GET /c/status"}, test.calls...), s.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	client, p, s := behind(t)
	held := p.Arm(kube.Rule{Do: proxy.Hold})
	done := make(chan error)
	go func() { done <- client.Get().AbsPath("/c").Do(context.Background()).Error() }()
	held.Await(t, 1)
	s.mu.Lock()
	if len(s.calls) > 0 {
		t.Errorf("the server was called: %v", s.calls)
	}
	s.mu.Unlock()
	held.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWatchesFreezeAndThaw(t *testing.T) {
	t.Parallel()
	client, p, s := behind(t)
	stream, err := client.Get().AbsPath("/apis/things").Param("watch", "true").Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	lines := make(chan string)
	go func() {
		for scanner := bufio.NewScanner(stream); scanner.Scan(); {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	s.news <- "one"
	if got := <-lines; got != "one" {
		t.Errorf("the watch said %q", got)
	}
	p.Freeze()
	s.news <- "two"
	p.AwaitKept(t)
	select {
	case got := <-lines:
		t.Errorf("the frozen watch said %q", got)
	default:
	}
	p.Thaw()
	if got := <-lines; got != "two" {
		t.Errorf("the watch said %q", got)
	}
	armed := p.Arm(kube.Rule{Match: kube.Watches("things"), Do: proxy.Answer, Reply: kube.ExpiredWatch})
	if _, err := client.Get().AbsPath("/apis/things").Param("watch", "true").Stream(t.Context()); !apierrors.IsResourceExpired(err) {
		t.Errorf("the watch failed with %v, want that it is expired", err)
	}
	armed.Await(t, 1)
}
