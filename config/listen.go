package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"sidecar/access"
)

func (l *loader) checkListen() {
	c := &l.config
	if len(c.Listen) == 0 {
		l.report("listen", `names none; write host:port, such as ":8080", or unix:/path`)
	}
	for i, s := range c.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		if text := listenFault(s); text != "" {
			l.report(key, quote(s)+" "+text)
		}
		if slices.Contains(c.Listen[:i], s) && !strings.HasSuffix(s, ":0") {
			l.report(key, quote(s)+" is given twice")
		}
	}
	if !c.Ops.Off() {
		l.checkOwnListen("ops.listen", c.Ops.Listen)
	}
	if c.TLS.Redirects() && c.TLS.HTTP == c.Ops.Listen && !strings.HasSuffix(c.TLS.HTTP, ":0") {
		l.report("tls.http", quote(c.TLS.HTTP)+" is ops.listen too; give it a port of its own")
	}
}

// checkOwnListen checks the address of a listener that may be off, and is for
// something else than listen is.
func (l *loader) checkOwnListen(key, at string) {
	if text := listenFault(at); text != "" {
		l.report(key, quote(at)+" "+text+"; off is for none")
	}
	if slices.Contains(l.config.Listen, at) && !strings.HasSuffix(at, ":0") {
		l.report(key, quote(at)+" is where clients come in too; give it a port of its own")
	}
}

// maxSocketPath is what fits into sockaddr_un with its closing zero.
const maxSocketPath = 107

// listenFault says what is wrong with an address to listen at, "" for nothing.
func listenFault(s string) string {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case !strings.HasPrefix(path, "/"):
			return "must name a socket by its full path, unix:/path"
		case len(path) > maxSocketPath:
			return fmt.Sprintf("names a path of %d bytes; a socket's may have %d", len(path), maxSocketPath)
		}
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, err := strconv.ParseUint(s, 10, 16); err == nil {
			return fmt.Sprintf("is no host:port; write %q", ":"+s)
		}
		return "is neither host:port nor unix:/path"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "needs a port from 0 to 65535"
	}
	if strings.ContainsAny(host, "/ \t") {
		return "has a host that is no name or address"
	}
	return ""
}

func (l *loader) checkProxies() {
	for i, p := range l.config.TrustedProxies {
		if _, err := access.ParseProxies([]string{p}); err != nil {
			l.report(fmt.Sprintf("trusted_proxies[%d]", i), err.Error())
		}
	}
	if l.config.ProxyProtocol && len(l.config.TrustedProxies) == 0 {
		l.report("proxy_protocol", "true needs trusted_proxies; nobody else's header would be believed")
	}
}
