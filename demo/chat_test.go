package demo

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gorilla/websocket"
)

// wantEvents reads events and wants them to be these and no others.
func wantEvents(t *testing.T, c *client, want ...event) {
	t.Helper()
	for _, w := range want {
		var got event
		if err := c.decode(&got); err != nil {
			t.Fatalf("awaiting %+v: %v", w, err)
		}
		if got != w {
			t.Fatalf("got %+v; want %+v", got, w)
		}
	}
}

func TestChatTellsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		ann := mustOpen(t, to, "/chat?name=Ann", offer{})
		wantEvents(t, ann, event{"join", "Ann", "", 1})
		ben := mustOpen(t, to, "/chat?name=Ben", offer{})
		wantEvents(t, ann, event{"join", "Ben", "", 2})
		wantEvents(t, ben, event{"join", "Ben", "", 2})

		mustSend(t, ann, websocket.TextMessage, []byte(`<b>"hi"</b>`))
		wantEvents(t, ann, event{"message", "Ann", `<b>"hi"</b>`, 2})
		wantEvents(t, ben, event{"message", "Ann", `<b>"hi"</b>`, 2})

		ben.end()
		wantEvents(t, ann, event{"leave", "Ben", "", 1})
	})
}

func TestChatNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		for _, name := range []string{"", strings.Repeat("a", maxName+1), "\xff", "a\nb", "\x1b[31m", "\u202e"} {
			wantRefused(t, to, "/chat?name="+url.QueryEscape(name), http.StatusBadRequest)
		}
		for _, name := range []string{"a", strings.Repeat("ü", maxName), "Ann B. 世界"} {
			c := mustOpen(t, to, "/chat?name="+url.QueryEscape(name), offer{})
			wantEvents(t, c, event{"join", name, "", 1})
			c.end()
			synctest.Wait()
		}
	})
}

func TestChatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		members := make([]*client, maxMembers)
		for i := range members {
			members[i] = mustOpen(t, to, fmt.Sprintf("/chat?name=%d", i), offer{})
			go drained(members[i])
		}
		synctest.Wait() // the handshake is over before the joining is
		late := mustOpen(t, to, "/chat?name=late", offer{})
		if got, want := wantClosed(t, late, 1013), "the room is full"; got != want {
			t.Errorf("closed with %q; want %q", got, want)
		}
		members[0].end()
		synctest.Wait()
		next := mustOpen(t, to, "/chat?name=next", offer{})
		wantEvents(t, next, event{"join", "next", "", maxMembers})
	})
}

// The pipes of the bubble hold nothing, so a member that does not read is stuck
// with the first event; the queue takes maxQueue more.
func TestChatDropsSlowMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := reach(t, Backend())
		slow := mustOpen(t, to, "/chat?name=slow", offer{})
		synctest.Wait()
		ann := mustOpen(t, to, "/chat?name=Ann", offer{}) // the first in the queue
		wantEvents(t, ann, event{"join", "Ann", "", 2})
		say := func(n int) {
			mustSend(t, ann, websocket.TextMessage, numbered(n))
			wantEvents(t, ann, event{"message", "Ann", string(numbered(n)), 2})
		}
		for n := 2; n <= maxQueue; n++ {
			say(n)
		}
		say(maxQueue + 1) // one too many
		wantEvents(t, ann, event{"leave", "slow", "", 1})
		if got, want := wantClosed(t, slow, 1013), "too slow for the room"; got != want {
			t.Errorf("closed with %q; want %q", got, want)
		}
	})
}

func TestRoomDropsWhoeverIsFullAtOnce(t *testing.T) {
	var r room
	a, b := r.join("a"), r.join("b")
	for range maxQueue {
		r.say(a, "x")
	}
	for _, m := range []*member{a, b} {
		select {
		case <-m.dropped:
		default:
			t.Errorf("%s is still a member", m.name)
		}
		if got := len(m.queue); got > maxQueue {
			t.Errorf("%s has %d events queued; want at most %d", m.name, got, maxQueue)
		}
	}
	if got := len(r.members); got != 0 {
		t.Errorf("%d members left; want 0", got)
	}
	r.say(a, "ghost")
	r.leave(a)
	r.leave(b) // neither panics nor tells anybody
}
