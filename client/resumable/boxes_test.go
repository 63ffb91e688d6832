package resumable

import (
	"testing"

	"sidecar/protocol/resume/wire"
)

// The token that is named is never one that the server has voided (§5.4).
func TestTokens(t *testing.T) {
	var k tokens
	k.learn("t0")
	if got := k.name(nil); got != "t0" {
		t.Errorf("named %q; want t0", got)
	}
	k.learn("t1")
	if got := k.name([]string{"t0"}); got != "t0" {
		t.Errorf("with a HELLO under way that named t0: named %q; want t0", got)
	}
	if got := k.name(nil); got != "t1" {
		t.Errorf("named %q; want t1", got)
	}
	k.learn("t0") // a WELCOME that came late
	if got := k.name(nil); got != "t1" {
		t.Errorf("after an old WELCOME: named %q; want t1", got)
	}
	for i := range 2 * maxSeen {
		k.learn(string(rune('A' + i)))
	}
	if len(k.seen) != maxSeen {
		t.Errorf("%d tokens are remembered; want %d", len(k.seen), maxSeen)
	}
}

// A message is begun only while what is not acknowledged counts less than the window,
// a smaller one than before too; what was begun goes on.
func TestOutboxKeepsToTheWindow(t *testing.T) {
	o := newOutbox()
	o.window = 4096
	for !o.full() {
		o.add(true, make([]byte, 1984))
	}
	if got := len(o.kept); got != 2 {
		t.Fatalf("%d messages of 2048 went into a window of 4096; want 2", got)
	}
	_, at := o.append(nil, position{}, wire.MaxBody)
	if at != (position{3, 0}) || o.pending(at) {
		t.Errorf("all went up to %v; want 3 0", at)
	}
	o.window = 2048
	if _, at := o.append(nil, position{1, 0}, wire.MaxBody); at != (position{2, 0}) {
		t.Errorf("with a smaller window, sent up to %v; want 2 0", at)
	}
	if _, at := o.append(nil, position{2, 1024}, wire.MaxBody); at != (position{3, 0}) {
		t.Errorf("of a message that was begun, sent up to %v; want 3 0", at)
	}
}

func TestOutboxAcks(t *testing.T) {
	for name, test := range map[string]struct {
		ack  wire.Ack
		bad  bool
		keep int
	}{
		"nothing": {wire.Ack{}, false, 3}, "one": {wire.Ack{Received: 1}, false, 2}, "ahead": {wire.Ack{Received: 1, Ahead: 1}, false, 2},
		"partial": {wire.Ack{Received: 1, Partial: 99}, false, 2}, "all of a message as partial": {wire.Ack{Received: 1, Partial: 100}, true, 3},
		"beyond": {wire.Ack{Received: 3}, true, 3}, "ahead beyond": {wire.Ack{Received: 2, Ahead: 1}, true, 3},
		"partial beyond": {wire.Ack{Received: 2, Partial: 1}, true, 3},
	} {
		o := newOutbox()
		o.window = 1 << 20
		o.add(true, make([]byte, 100))
		o.add(true, make([]byte, 100))
		o.append(nil, position{}, wire.MaxBody)
		o.add(true, make([]byte, 100)) // not sent
		_, err := o.ack(test.ack)
		if (err != nil) != test.bad {
			t.Errorf("%s: %v; want a fault: %v", name, err, test.bad)
		}
		if !test.bad && len(o.kept) != test.keep {
			t.Errorf("%s: %d are kept; want %d", name, len(o.kept), test.keep)
		}
	}
}
