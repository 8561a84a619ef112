package fetch

import (
	"errors"
	"net/netip"
	"net/url"
	"testing"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "93.184.216.34": true, "172.15.255.255": true, "172.32.0.0": true, "100.63.255.255": true,
		"100.128.0.0": true, "169.253.255.255": true, "223.255.255.255": true, "192.0.1.1": true,
		"2606:4700:4700::1111": true, "2a00:1450:4001::1": true, "::ffff:8.8.8.8": true, // as the resolver hands out 8.8.8.8

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false, "100.64.0.1": false, "100.127.255.255": false,
		"127.0.0.1": false, "127.255.255.254": false, "169.254.169.254": false, "169.254.0.1": false, "172.16.0.1": false,
		"172.31.255.255": false, "192.0.0.8": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false,
		"198.18.0.1": false, "198.19.255.255": false, "198.51.100.7": false, "203.0.113.9": false, "224.0.0.1": false,
		"239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::8.8.8.8": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false,
		"2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "fc00::1": false, "fd00:ec2::254": false,
		"fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false, "4000::1": false,
	}
	for text, want := range tests {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("public(%s) = %v", text, got)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestMayConnect(t *testing.T) {
	t.Parallel()
	p, err := newPolicy(Config{AllowPrivate: []string{"10.1.0.0/16", " 192.168.7.9", "Lists.Internal.", "::1"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		host, address string
		want          bool
	}{
		{"example.com", "8.8.8.8", true},
		{"example.com", "10.1.2.3", true},
		{"example.com", "::ffff:10.1.2.3", true},
		{"example.com", "10.2.0.1", false},
		{"example.com", "192.168.7.9", true},
		{"example.com", "192.168.7.8", false},
		{"example.com", "::1", true},
		{"lists.internal", "10.9.9.9", true},
		{"LISTS.internal.", "fd12::1", true},
		{"lists.internal", "169.254.169.254", false},
		{"lists.internal", "::ffff:169.254.169.254", false},
		{"lists.internal", "fe80::1%eth0", false},
		{"lists.internal", "fd00:ec2::254", false},
		{"lists.internal", "224.0.0.1", false},
		{"lists.internal", "0.0.0.0", false},
		{"more.lists.internal", "10.9.9.9", false},
	}
	for _, test := range tests {
		if got := p.mayConnect(test.host, netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("mayConnect(%s, %s) = %v", test.host, test.address, got)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	open, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := New(Config{Hosts: []string{"lists.example.com", ".shop.example"}, Ports: []int{8443}, AllowPrivate: []string{"10.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		client *Client
		url    string
		want   Reason
	}{
		{open, "https://lists.example.com/news.csv?signature=x", ""},
		{open, "HTTPS://LISTS.example.com:443", ""},
		{open, "https://8.8.8.8/", ""},
		{open, "https://[2606:4700:4700::1111]/", ""},
		{open, "https://xn--mnchen-3ya.example/", ""},
		{open, "", ReasonInvalidURL},
		{open, "lists.example.com/news.csv", ReasonInvalidURL},
		{open, "http://lists.example.com/", ReasonInvalidURL},
		{open, "file:///etc/passwd", ReasonInvalidURL},
		{open, "gopher://example.com/", ReasonInvalidURL},
		{open, "https:lists.example.com", ReasonInvalidURL},
		{open, "https:///x", ReasonInvalidURL},
		{open, "https://:443/", ReasonInvalidURL},
		{open, "https://user@example.com/", ReasonInvalidURL},
		{open, "https://user:secret@example.com/", ReasonInvalidURL},
		{open, "https://example.com@169.254.169.254/", ReasonInvalidURL},
		{open, "https://münchen.example/", ReasonInvalidURL},
		{open, "https://exa mple.com/", ReasonInvalidURL},
		{open, "https://example.com:port/", ReasonInvalidURL},
		{open, "https://example.com\x00.internal/", ReasonInvalidURL},
		{open, "https://example.com/\x7f", ReasonInvalidURL},
		{open, "https://exam%70le.com/", ReasonInvalidURL},
		{open, "https://127%2e0%2e0%2e1/", ReasonInvalidURL},
		{open, "https://example.com:6379/", ReasonForbiddenHost},
		{open, "https://example.com:80/", ReasonForbiddenHost},
		{open, "https://127.0.0.1/", ReasonForbiddenAddress},
		{open, "https://10.0.0.1/", ReasonForbiddenAddress},
		{open, "https://169.254.169.254/latest/meta-data/", ReasonForbiddenAddress},
		{open, "https://100.100.100.200/", ReasonForbiddenAddress},
		{open, "https://0.0.0.0/", ReasonForbiddenAddress},
		{open, "https://[::1]/", ReasonForbiddenAddress},
		{open, "https://[::]/", ReasonForbiddenAddress},
		{open, "https://[fd00:ec2::254]/", ReasonForbiddenAddress},
		{open, "https://[64:ff9b::a9fe:a9fe]/", ReasonForbiddenAddress},
		{open, "https://[::ffff:169.254.169.254]/", ReasonInvalidURL},
		{open, "https://[::ffff:8.8.8.8]/", ReasonInvalidURL},
		{open, "https://[fe80::1%25eth0]/", ReasonInvalidURL},
		{open, "https://127.1/", ReasonInvalidURL},
		{open, "https://2130706433/", ReasonInvalidURL},
		{open, "https://0x7f.0.0.1/", ReasonInvalidURL},
		{open, "https://0x7f000001/", ReasonInvalidURL},
		{open, "https://0177.0.0.1/", ReasonInvalidURL},
		{open, "https://127.0.0.1./", ReasonInvalidURL},
		{open, "https://1.2.3.256/", ReasonInvalidURL},
		{open, "https://example.com/" + string(make([]byte, 2048)), ReasonInvalidURL},
		{narrow, "https://lists.example.com:8443/", ""},
		{narrow, "https://a.b.shop.example/", ""},
		{narrow, "https://shop.example/", ReasonForbiddenHost},
		{narrow, "https://evil-shop.example/", ReasonForbiddenHost},
		{narrow, "https://example.com/", ReasonForbiddenHost},
		{narrow, "https://10.1.2.3/", ReasonForbiddenHost},
	}
	for _, test := range tests {
		err := test.client.Check(test.url)
		var got Reason
		if own, ok := errors.AsType[*Error](err); ok {
			got = own.Reason
		}
		if got != test.want || (err == nil) != (test.want == "") {
			t.Errorf("Check(%q) = %v, want %q", test.url, err, test.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"https://lists.example.com/news.csv?signature=secret", "https://user:secret@example.com/", "https://127.1/", "https://[::ffff:10.0.0.1]:443/",
		"https://example.com:6379/", "HTTPS://EXAMPLE.com.", "https://0x7f.1", "https://[fe80::1%25en0]/", "https:/\\example.com", "//example.com",
	} {
		f.Add(seed)
	}
	client, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := client.Check(text)
		if err != nil {
			own, ok := errors.AsType[*Error](err)
			if !ok || own.Temporary || own.Reason == "" {
				t.Fatalf("Check(%q) = %v", text, err)
			}
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" {
			t.Fatalf("Check(%q) lets it through: %+v, %v", text, u, err)
		}
		if address, err := netip.ParseAddr(u.Hostname()); err == nil && (!public(address) || address.Is4In6()) {
			t.Fatalf("Check(%q) lets %s through", text, address)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]Config{
		"no address": {AllowPrivate: []string{"https://example.com"}},
		"no range":   {AllowPrivate: []string{"10.0.0.0/33"}},
		"no host":    {Hosts: []string{"*.example.com"}},
		"no port":    {Ports: []int{70000}},
		"no PEM":     {CA: []byte("x")},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
