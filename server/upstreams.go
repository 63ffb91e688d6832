package server

import (
	"sync/atomic"

	"sidecar/access"
)

// upstreams bounds the connections to backends by their number, since the sockets of
// clients do not: one keep-alive connection may open many sessions by polling, each
// with a connection of its own to the backend, and then take part in a plain request.
//
// Who asks for room and who is counted later may be overtaken: the bound is exceeded
// by as many as ask at one time, for which the descriptors in reserve are enough.
type upstreams struct {
	open  func() int   // raw connections and sessions
	plain atomic.Int64 // plain requests under way
	most  int
}

func (u *upstreams) taken() int { return u.open() + int(u.plain.Load()) }

// room refuses what would be one connection too many. limits.connections may be off,
// or more than the descriptors allow.
func (u *upstreams) room() error {
	if u.taken() >= u.most {
		return noUpstream()
	}
	return nil
}

// roomForSession leaves what the derived bound on connections leaves: sessions must
// not keep out everything else.
func (u *upstreams) roomForSession() error {
	if u.taken() >= (access.Limits{}).Derive(u.most).Connections {
		return noUpstream()
	}
	return nil
}

// enter counts a plain request; leave follows if it is not refused.
func (u *upstreams) enter() *access.Refusal {
	if int(u.plain.Add(1))+u.open() > u.most {
		u.leave()
		return noUpstream()
	}
	return nil
}

func (u *upstreams) leave() { u.plain.Add(-1) }

func noUpstream() *access.Refusal {
	return access.Full("too many connections for the descriptors of this program")
}
