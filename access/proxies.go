package access

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the peers whose word on X-Forwarded-*, Forwarded and the PROXY
// protocol is believed. The zero value trusts nobody.
//
// Who is trusted must itself overwrite or append to those headers, whichever of
// them it speaks, and drop the others: we cannot tell its words from those that
// it passed through.
type Proxies struct {
	prefixes []netip.Prefix
	unix     bool
}

// ParseProxies reads addresses and CIDR prefixes, IPv4 and IPv6, and the word
// "unix" for whoever connects over a unix socket: such a peer has no address,
// so nothing else can name it. IPv4 written as IPv6 (::ffff:10.0.0.1) means the
// IPv4 address, and a zone (%eth0) is dropped: the address is trusted on every
// interface. All bad entries are reported together, each by name.
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	var errs []error
	for _, entry := range list {
		if entry == "unix" {
			p.unix = true
			continue
		}
		prefix, err := parsePrefix(entry)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.prefixes = append(p.prefixes, prefix)
	}
	if len(errs) > 0 {
		return Proxies{}, errors.Join(errs...)
	}
	return p, nil
}

func parsePrefix(entry string) (netip.Prefix, error) {
	address, bits, hasBits := strings.Cut(entry, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address: write one (10.0.0.7), a prefix (10.0.0.0/8, fd00::/8) or unix", entry)
	}
	addr = addr.WithZone("")
	if !hasBits {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(addr.String() + "/" + bits)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q has no valid prefix length: write 0 to %d after the slash", entry, addr.BitLen())
	}
	if !addr.Is4In6() {
		return prefix, nil
	}
	if prefix.Bits() < mappedBits {
		return netip.Prefix{}, fmt.Errorf("%q covers more than IPv4: write the prefix as IPv4 (%s/8), or 96 to 128 after the slash", entry, addr.Unmap())
	}
	return netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mappedBits), nil
}

// mappedBits is where the IPv4 address begins in an IPv4-mapped IPv6 one,
// RFC 4291 section 2.5.5.2. Addresses are compared unmapped.
const mappedBits = 96

// Trusts reports whether addr is one of p.
func (p Proxies) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// peer reads the address of a socket's other end, as net.Addr and
// http.Request.RemoteAddr write it; it is the zero Addr for a unix socket.
func (p Proxies) peer(remote string) (addr netip.Addr, trusted bool) {
	if isUnix(remote) {
		return netip.Addr{}, p.unix
	}
	addr, ok := parseHop(remote)
	return addr, ok && p.Trusts(addr)
}

// isUnix knows the names of a unix socket's clients: mostly none, which Go
// writes "" or "@", else a path or an abstract name.
func isUnix(remote string) bool {
	return remote == "" || remote[0] == '@' || remote[0] == '/'
}

// trustsConn reports whether the peer of a connection is trusted.
func (p Proxies) trustsConn(remote net.Addr) bool {
	if remote == nil {
		return false
	}
	if _, ok := remote.(*net.UnixAddr); ok {
		return p.unix
	}
	_, trusted := p.peer(remote.String())
	return trusted
}

// maxHop is more than the longest honest hop: a bracketed IPv6 address with an
// IPv4 tail, a zone as long as an interface's name can be, and a port.
const maxHop = 80

// parseHop reads an address with or without port, IPv6 with or without
// brackets: proxies write all of these. Zones, which mean nothing on another
// machine, are dropped.
func parseHop(s string) (netip.Addr, bool) {
	if len(s) > maxHop {
		return netip.Addr{}, false
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if port, err := netip.ParseAddrPort(s); err == nil {
		return port.Addr().Unmap().WithZone(""), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		addr, err := netip.ParseAddr(s[1 : len(s)-1])
		return addr.Unmap().WithZone(""), err == nil && addr.Is6()
	}
	return netip.Addr{}, false
}
