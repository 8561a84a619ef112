package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// Request is a file to fetch.
type Request struct {
	URL string
	// SHA256, in hex, is what the bytes as served must have; empty for any.
	SHA256 string
	// MaxBytes bounds the file as served, where that is less than the client's limit; 0 for no less.
	MaxBytes int64
	// Gunzip has a file that is gzip decompressed: lists are wanted so, attachments are not. A Content-Encoding is always
	// decoded.
	Gunzip bool
}

// Client fetches files. It is safe for concurrent use.
type Client struct {
	config Config
	policy policy
	http   *http.Client
}

// New returns a client, or an error that says what of the configuration is wrong.
func New(config Config) (*Client, error) {
	config = config.withDefaults()
	p, err := newPolicy(config)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	pool, err := roots(config.CA)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	c := &Client{config: config, policy: p}
	transport := &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		TLSHandshakeTimeout:    config.ConnectTimeout,
		ResponseHeaderTimeout:  config.HeaderTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true, // no connection serves another request than the one it was checked for
		DisableCompression:     true, // the checksum is of the bytes as served
	}
	if config.Proxy != nil {
		transport.Proxy = http.ProxyURL(config.Proxy)
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: c.checkRedirect}
	return c, nil
}

// dial connects to a host after looking at the address that the name turned out to have. A proxy is the operator's own
// choice.
func (c *Client) dial(ctx context.Context, network, target string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: c.config.ConnectTimeout}
	if c.config.Proxy == nil {
		host, _, err := net.SplitHostPort(target)
		if err != nil {
			return nil, fmt.Errorf("dialing: %w", err)
		}
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			found, err := netip.ParseAddrPort(address)
			if err != nil || !c.policy.mayConnect(host, found.Addr()) {
				return forbidden(host)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, target)
}

func (c *Client) checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refuse(ReasonRedirects, via[0].URL.Hostname(), "it redirects more than %d times: name the file's last URL", maxRedirects)
	}
	request.Header.Del("Referer") // would tell the next host the whole URL, signature and all
	if err := c.policy.checkURL(request.URL); err != nil {
		own, _ := errors.AsType[*Error](err)
		return refuse(own.Reason, via[0].URL.Hostname(), "it redirects to where nothing is fetched from: %v", err)
	}
	return nil
}

// Get fetches a file. Errors are *Error where the request or the server is at fault, ctx's own where it ended, and others
// where the temporary file can't be written or read.
func (c *Client) Get(ctx context.Context, r Request) (_ *File, err error) {
	u, err := c.policy.parse(r.URL)
	if err != nil {
		return nil, err
	}
	if r.SHA256 != "" && !isSHA256(r.SHA256) {
		return nil, refuse(ReasonInvalidChecksum, "", "the sha256 is not 64 hexadecimal digits")
	}
	limited, cancel := context.WithTimeout(ctx, c.config.TotalTimeout)
	defer cancel()
	response, err := c.ask(limited, u)
	if err != nil {
		return nil, endedOr(ctx, err)
	}
	defer response.Body.Close()
	file, err := c.download(response, r, cancel)
	if err != nil {
		return nil, endedOr(ctx, err)
	}
	if err := file.identify(ctx, r); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// endedOr returns the error of a caller that went away, else err.
func endedOr(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("fetching: %w", ended)
	}
	return err
}

// ask returns the answer, whose status is 200.
func (c *Client) ask(ctx context.Context, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, refuse(ReasonInvalidURL, "", "it is not a URL")
	}
	request.Header.Set("User-Agent", c.config.UserAgent)
	request.Header.Set("Accept-Encoding", "identity")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, explain(err, u.Hostname())
	}
	host := response.Request.URL.Hostname()
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	_ = response.Body.Close()
	switch status := response.StatusCode; status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return nil, temporary(ReasonStatus, host, "the server answers with status %d", status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, refuse(ReasonStatus, host, "the server answers with status %d: let the file be read without credentials, or renew a signed URL", status)
	case http.StatusNotFound, http.StatusGone:
		return nil, refuse(ReasonStatus, host, "the server has no such file (status %d)", status)
	default:
		if status >= http.StatusInternalServerError {
			return nil, temporary(ReasonStatus, host, "the server answers with status %d", status)
		}
		return nil, refuse(ReasonStatus, host, "the server answers with status %d, not with the file", status)
	}
}

// download writes the body of an answer into a temporary file.
func (c *Client) download(response *http.Response, r Request, cancel context.CancelFunc) (*File, error) {
	host := response.Request.URL.Hostname()
	limit := c.config.MaxBytes
	if r.MaxBytes > 0 {
		limit = min(limit, r.MaxBytes)
	}
	if response.ContentLength > limit {
		return nil, tooLarge(host, limit)
	}
	encoded := false
	switch encoding := strings.ToLower(strings.TrimSpace(response.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		encoded = true
	default:
		return nil, refuse(ReasonEncoding, host, "the server encodes the file in a way that was not asked for: plain or gzip is")
	}
	file, err := newFile(c.config, host)
	if err != nil {
		return nil, err
	}
	file.encoded = encoded
	body := newWatched(response.Body, c.config.IdleTimeout, cancel)
	n, err := file.fill(io.LimitReader(body, limit+1))
	body.stop()
	// Giving up ends the request, which a server can take for a reason to end its answer as if that were complete: a
	// file counts only if nobody had given up by its end.
	switch ended := response.Request.Context().Err(); {
	case body.idled.Load(), errors.Is(ended, context.DeadlineExceeded):
		err = temporary(ReasonTimeout, host, "the server is too slow")
	case ended != nil:
		err = fmt.Errorf("fetching: %w", ended)
	case body.failed != nil:
		err = explain(body.failed, host)
	case err == nil && n > limit:
		err = tooLarge(host, limit)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func tooLarge(host string, limit int64) error {
	return refuse(ReasonTooLarge, host, "the file is larger than %d bytes: split or compress it", limit)
}
