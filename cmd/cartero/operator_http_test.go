package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

// Writes do not share a connection, and one that gets no answer ends.
func TestWritesHaveConnectionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	proto := ""
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.Proto }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	web, err := httpForWrites(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := web.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if proto != "HTTP/1.1" || web.Timeout != writeTimeout {
		t.Errorf("%s, timeout %v", proto, web.Timeout)
	}
	if config.NextProtos != nil || config.Timeout != 0 {
		t.Errorf("what watches has %v, %v too", config.NextProtos, config.Timeout)
	}
}
