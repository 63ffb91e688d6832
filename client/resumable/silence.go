package resumable

import (
	"time"

	"sidecar/protocol/resume/wire"
)

// judgeLocked begins to watch for silence (§10). A poll has its requests' time instead.
func (k *carrier) judgeLocked() {
	h, t := k.patiences()
	switch {
	case k.kind == wire.WebSocket:
		k.judging = time.AfterFunc(h, k.judge)
	case k.kind == wire.Stream && h > 0:
		k.patience = h + t
		k.judging = time.AfterFunc(k.patience, k.judge)
	}
}

// patiences are heartbeat and timeout of the WELCOME.
func (k *carrier) patiences() (heartbeat, timeout time.Duration) {
	w := k.welcome
	if w == nil {
		return 0, noTimeout
	}
	heartbeat, timeout = time.Duration(w.Heartbeat)*time.Millisecond, time.Duration(w.Timeout)*time.Millisecond
	if timeout == 0 && k.kind != wire.WebSocket {
		timeout = noTimeout
	}
	return heartbeat, timeout
}

const (
	noTimeout  = 30 * time.Second // for requests, where the server names none (§3.5)
	jump       = 5 * time.Second  // a clock that jumped so far may mean sleep
	askedTwice = 2 * time.Second  // who is asked after that has so long
)

// alive says that something came, be it a part of a frame.
func (k *carrier) alive() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.heard, k.asked = time.Now(), time.Time{}
}

// judge looks whether the carrier is silent for too long.
func (k *carrier) judge() {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.over {
		return
	}
	now := time.Now()
	if k.kind == wire.Stream {
		k.judgeStreamLocked(now)
		return
	}
	h, t := k.patiences()
	if k.asked.IsZero() {
		if h == 0 { // it answers if it is asked otherwise
			return
		}
		if left := h - now.Sub(k.heard); left > 0 {
			k.judging.Reset(left)
			return
		}
		k.askLocked(now, t)
		return
	}
	switch late := now.Sub(k.asked.Add(k.patience)); {
	case late < 0:
		k.judging.Reset(-late)
	case late > jump: // we did not run: that is not the server's silence
		k.askLocked(now, askedTwice)
	default:
		c.lostLocked(k, errSilent)
	}
}

func (k *carrier) askLocked(now time.Time, patience time.Duration) {
	k.asked, k.patience, k.ping = now, patience, true
	k.nudge()
	if patience > 0 {
		k.judging.Reset(patience)
	}
}

func (k *carrier) judgeStreamLocked(now time.Time) {
	switch late := now.Sub(k.heard.Add(k.patience)); {
	case late < 0:
		k.judging.Reset(-late)
	case late > jump:
		k.heard = now.Add(askedTwice - k.patience)
		k.judging.Reset(askedTwice)
	default:
		k.c.lostLocked(k, errSilent)
	}
}
