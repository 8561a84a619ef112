package fetch

import "net/netip"

// special are the blocks of IPv4 that are not for the public (IANA's IPv4 Special-Purpose Address Registry, RFC 6890):
// this network, private use, shared by carriers, loopback, link-local with the metadata services, protocols, examples,
// 6to4 relays, benchmarks, multicast, and what is reserved with the broadcast address.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
)

// Of IPv6 only global is for the public, without the blocks of special6 (RFC 4291 section 2.4, RFC 6890): protocols with
// Teredo, examples, and 6to4, which hides an address of IPv4. Outside of global are loopback, link-local and unique local
// addresses, multicast, and the other forms of addresses of IPv4: mapped, and NAT64's.
var (
	global   = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

// local are the ranges that a host name allows nobody into: link-local ones, where clouds serve credentials.
var local = prefixes("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// public reports whether an address is one of the public internet, where everybody can go anyway.
func public(address netip.Addr) bool {
	address = address.Unmap()
	switch {
	case !address.IsValid() || address.Zone() != "":
		return false
	case address.Is4():
		return !within(special, address)
	default:
		return global.Contains(address) && !within(special6, address)
	}
}

func within(ranges []netip.Prefix, address netip.Addr) bool {
	for _, prefix := range ranges {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// mayConnect reports whether a connection to this address may be made when host is asked.
func (p policy) mayConnect(host string, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if public(address) || within(p.ranges, address) {
		return true
	}
	return p.names[canonical(host)] && !within(local, address) && !address.IsMulticast() && !address.IsUnspecified()
}
