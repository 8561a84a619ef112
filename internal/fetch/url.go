package fetch

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL is the limit of a URL in bytes, as in the API.
const maxURL = 2048

// Check reports, without any network, whether the client would ask for a URL: nil or an *Error.
func (c *Client) Check(text string) error {
	_, err := c.policy.parse(text)
	return err
}

// parse reads a URL that a manifest or a redirect holds.
func (p policy) parse(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, refuse(ReasonInvalidURL, "", "the URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	if err != nil { // the cause quotes the URL
		return nil, refuse(ReasonInvalidURL, "", "it is not a URL")
	}
	if err := p.checkURL(u); err != nil {
		return nil, err
	}
	return u, nil
}

func (p policy) checkURL(u *url.URL) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "https":
		return refuse(ReasonInvalidURL, "", "the URL must begin with https://")
	case u.User != nil:
		return refuse(ReasonInvalidURL, "", "the URL has a user or password in it: serve the file in another way")
	case u.Opaque != "" || host == "":
		return refuse(ReasonInvalidURL, "", "the URL has no host")
	}
	if !p.mayAsk(host) {
		return refuse(ReasonForbiddenHost, host, "the host is not among those that the operator allows (FETCH_ONLY_HOSTS)")
	}
	port := defaultPort
	if text := u.Port(); text != "" {
		var err error
		if port, err = strconv.Atoi(text); err != nil {
			return refuse(ReasonInvalidURL, host, "the port of the URL is not a number")
		}
	}
	if !slices.Contains(p.ports, port) {
		return refuse(ReasonForbiddenHost, host, "the port %d is not among those that the operator allows (FETCH_ALLOW_PORTS)", port)
	}
	return p.checkHost(host)
}

// checkHost refuses early what the connection would be refused for, and what only looks like an address: 127.1, 0x7f.1
// and 2130706433 are the loopback for some resolvers.
func (p policy) checkHost(host string) error {
	address, err := netip.ParseAddr(host)
	switch {
	case err == nil && (address.Is4In6() || address.Zone() != ""):
		return refuse(ReasonInvalidURL, "", "the address of the URL is in a form that is not supported: use a host name")
	case err == nil && !p.mayConnect(host, address):
		return forbidden(host)
	case err == nil:
		return nil
	case !isName(host):
		return refuse(ReasonInvalidURL, "", "the host of the URL is not a name: write it in letters, digits, hyphens and dots (xn-- for others)")
	}
	labels := strings.Split(canonical(host), ".")
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return refuse(ReasonInvalidURL, "", "the host of the URL ends in a number and is no address")
	}
	return nil
}
