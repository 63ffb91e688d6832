package access

import (
	"errors"
	"fmt"
)

// Limits bound how many come in. 0 means the bound that Derive documents; -1
// ("off" in the configuration) means none.
type Limits struct {
	// Connections is how many raw connections and sessions there may be. The
	// next one is refused with 503 and Retry-After. Default: nineteen twentieths
	// of the client sockets that the descriptor limit allows, so that some are
	// left to hear a refusal.
	Connections int `yaml:"connections" off:"-1"`
	// PerAddress is how many of them one client address may have, an IPv6 /64
	// counting as one. The next is refused with 429. Default none: behind a
	// proxy that is not yet in trusted_proxies all clients have one address, and
	// a bound would be an outage.
	PerAddress int `yaml:"per_address" off:"-1"`
	// HandshakesPerSecond is how fast one address may open connections, over
	// time; the next is refused with 429 and Retry-After. Set, it lets bursts
	// through of twice as many, at least 10. Default: a tenth of Connections, at
	// least 10, and bursts of Connections, so that a fleet that reconnects
	// through one address passes.
	HandshakesPerSecond int `yaml:"handshakes_per_second" off:"-1"`

	burst int // of a derived rate; 0: by the rate
}

// minRate is the least derived handshake rate, and the least burst of any.
const minRate = 10

// Validate reports what is wrong with l, each fault as "key: what and remedy".
func (l Limits) Validate() error {
	var faults []error
	for _, bound := range []struct {
		key   string
		value int
	}{
		{"connections", l.Connections},
		{"per_address", l.PerAddress},
		{"handshakes_per_second", l.HandshakesPerSecond},
	} {
		if bound.value < -1 {
			faults = append(faults, fmt.Errorf("%s: %d must not be negative: write off for no bound", bound.key, bound.value))
		}
	}
	return errors.Join(faults...)
}

// Derive replaces zeros by what sockets many client sockets allow; see the
// fields. With Connections off the rate follows sockets. Deriving twice changes
// nothing more.
func (l Limits) Derive(sockets int) Limits {
	sockets = max(sockets, 1)
	if l.Connections == 0 {
		l.Connections = sockets - sockets/20
	}
	if l.PerAddress == 0 {
		l.PerAddress = -1
	}
	if l.HandshakesPerSecond == 0 {
		most := l.Connections
		if most < 0 {
			most = sockets
		}
		l.HandshakesPerSecond = max(minRate, most/10)
		l.burst = max(minRate, most)
	}
	return l
}

// bursts is how many handshakes of one address may come at once.
func (l Limits) bursts() int {
	if l.burst > 0 {
		return l.burst
	}
	return max(minRate, 2*l.HandshakesPerSecond)
}
