package resume

import (
	"context"
	"testing"

	"sidecar/protocol/resume/wire"
)

// §5.3: openings that were answered are remembered only while there is room: whoever
// opens many sessions in a minute does not keep others from theirs.
func TestAnsweredOpeningsMakeRoom(t *testing.T) {
	var l Lobby
	defer l.Close()
	mine := &client{}
	open := func(context.Context) (*client, *wire.Refused, bool) { return mine, nil, false }
	for n := range maxOpenings + 100 {
		key := wire.Key{byte(n), byte(n >> 8), byte(n >> 16)}
		if c, refused, err := l.meet(t.Context(), key, open); c != mine {
			t.Fatalf("opening %d got %v, %+v, %v; want a session", n, c, refused, err)
		}
	}
	if n := len(l.all); n > maxOpenings {
		t.Errorf("%d openings are remembered; want at most %d", n, maxOpenings)
	}
}

// Openings that are under way are not forgotten, and bounded.
func TestOpeningsUnderWayAreBounded(t *testing.T) {
	l := Lobby{all: make(map[wire.Key]*opening)}
	for n := range maxOpenings {
		l.all[wire.Key{byte(n), byte(n >> 8), byte(n >> 16)}] = &opening{done: make(chan struct{})}
	}
	c, refused, err := l.meet(t.Context(), wire.Key{0, 0, 0, 1}, func(context.Context) (*client, *wire.Refused, bool) {
		t.Error("one too many was begun")
		return nil, errFull, true
	})
	if c != nil || refused != errFull || err != nil {
		t.Errorf("one too many got %v, %+v, %v; want errFull", c, refused, err)
	}
}
