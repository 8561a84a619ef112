package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/cartero-mail/cartero/test/faults/proxy"
)

// Request is what a client asks for.
type Request struct {
	Method string
	// Path is that of the URL: /apis/mail.cartero.dev/v1alpha1/namespaces/n/emailcampaigns/c/status.
	Path string
	// Watch says that it is a watch.
	Watch bool
}

// Reply is how the API server refuses a request.
type Reply struct {
	Code   int
	Reason metav1.StatusReason
	// RetryAfter is the seconds of the header of that name; 0 leaves it out.
	RetryAfter int
}

// Refusals of API servers.
var (
	Conflict     = Reply{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict}
	TooMany      = Reply{Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, RetryAfter: 1}
	Internal     = Reply{Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError}
	Timeout      = Reply{Code: http.StatusGatewayTimeout, Reason: metav1.StatusReasonTimeout}
	Unavailable  = Reply{Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable}
	ExpiredWatch = Reply{Code: http.StatusGone, Reason: metav1.StatusReasonExpired}
)

// Rule is that of package proxy.
type Rule = proxy.Rule[Request, Reply]

// Armed is that of package proxy.
type Armed = proxy.Armed[Request, Reply]

// Calls matches requests of some methods, but for watches, whose path ends so.
func Calls(suffix string, methods ...string) func(Request) bool {
	return func(r Request) bool {
		return !r.Watch && slices.Contains(methods, r.Method) && strings.HasSuffix(r.Path, suffix)
	}
}

// Watches matches watches of a resource.
func Watches(resource string) func(Request) bool {
	return func(r Request) bool { return r.Watch && strings.HasSuffix(r.Path, "/"+resource) }
}

// Proxy stands before one API server.
type Proxy struct {
	proxy.Rules[Request, Reply]

	tb        testing.TB
	upstream  *url.URL
	transport http.RoundTripper
	address   string
	ended     chan struct{}

	mu     sync.Mutex
	gate   chan struct{} // closed while watches deliver
	frozen *frost
	cut    chan struct{} // closed to cut the watches that are open
}

// frost is one freezing of watches.
type frost struct {
	mu      sync.Mutex
	kept    int
	changed chan struct{}
}

// New returns a proxy before the API server that config names, with its credentials, that lives as long as the test.
func New(tb testing.TB, config *rest.Config) *Proxy {
	tb.Helper()
	upstream, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		tb.Fatalf("Reading the address of the API server: %v", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		tb.Fatalf("Connecting to the API server: %v", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("Listening: %v", err)
	}
	p := &Proxy{
		tb: tb, upstream: upstream, transport: transport, address: listener.Addr().String(),
		ended: make(chan struct{}), gate: make(chan struct{}), cut: make(chan struct{}),
	}
	close(p.gate)
	server := &http.Server{Handler: p}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is closed
	}()
	tb.Cleanup(func() {
		p.DisarmAll()
		close(p.ended)
		_ = server.Close()
		<-served
	})
	return p
}

// Kubeconfig writes a kubeconfig that goes through the proxy, and returns its path.
func (p *Proxy) Kubeconfig() string {
	p.tb.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: "http://" + p.address}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(p.tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		p.tb.Fatalf("Writing a kubeconfig: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		p.tb.Fatalf("Writing a kubeconfig: %v", err)
	}
	return path
}

// refuse answers as an API server does.
func refuse(w http.ResponseWriter, r Reply) {
	w.Header().Set("Content-Type", "application/json")
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
	w.WriteHeader(r.Code)
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(r.Code), Reason: r.Reason,
		Message: fmt.Sprintf("refused by the test (%d)", r.Code),
	}
	if r.RetryAfter > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(r.RetryAfter)}
	}
	_ = json.NewEncoder(w).Encode(status) // who is gone needs no answer
}
