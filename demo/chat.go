package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// What the room holds at most.
const (
	maxName    = 32      // runes of a member's name; more gets 400
	maxSaid    = 1 << 10 // bytes of one message; more gets 1009
	maxMembers = 32      // one more gets 1013
	maxQueue   = 32      // events a member has not taken; one more drops it with 1013
)

// An event is what members are told.
type event struct {
	Type    string `json:"type"` // join, message or leave
	Name    string `json:"name"`
	Text    string `json:"text,omitempty"` // of a message
	Members int    `json:"members"`        // after a join or leave
}

// A room tells all members what each of them says, itself included. A member
// that does not keep up is dropped, so that it costs the others nothing. The
// zero room is ready, and holds nothing but its members.
type room struct {
	mu      sync.Mutex
	members map[*member]bool
}

// A member is one connection in the room. Two may have one name.
type member struct {
	name    string
	queue   chan []byte
	dropped chan struct{} // closed when the queue was full
}

// join adds a member and tells everybody; it returns nil when the room is full.
func (r *room) join(name string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.members) >= maxMembers {
		return nil
	}
	if r.members == nil {
		r.members = map[*member]bool{}
	}
	m := &member{name: name, queue: make(chan []byte, maxQueue), dropped: make(chan struct{})}
	r.members[m] = true
	r.tell(event{Type: "join", Name: name})
	return m
}

// say tells everybody what m said, unless it is no longer a member.
func (r *room) say(m *member, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m] {
		r.tell(event{Type: "message", Name: m.name, Text: text})
	}
}

// leave removes m, if it is still there, and tells the rest.
func (r *room) leave(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m] {
		delete(r.members, m)
		r.tell(event{Type: "leave", Name: m.name})
	}
}

// tell queues e for every member; mu is held, so it must not block. Those whose
// queue is full are dropped, which is an event too and may drop more: it ends,
// since each round has fewer members.
func (r *room) tell(e event) {
	e.Members = len(r.members)
	p, err := json.Marshal(e)
	if err != nil {
		return // cannot be: strings and an int
	}
	var slow []*member
	for m := range r.members {
		select {
		case m.queue <- p:
		default:
			slow = append(slow, m)
			delete(r.members, m)
			close(m.dropped)
		}
	}
	for _, m := range slow {
		r.tell(event{Type: "leave", Name: m.name})
	}
}

// chat is one member's connection.
func (b *backend) chat(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if err := checkName(name); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := b.accept(w, r, websocket.Upgrader{}, maxSaid)
	if s == nil {
		return
	}
	m := b.lobby.join(name)
	if m == nil {
		s.run(ignore, func(context.Context) error {
			return &closing{websocket.CloseTryAgainLater, "the room is full"}
		})
		return
	}
	s.run(func(kind int, p []byte) error { return b.lobby.hear(m, kind, p) },
		func(ctx context.Context) error {
			defer b.lobby.leave(m) // here, so that nobody waits for the socket to be closed
			return s.attend(ctx, m)
		})
}

func checkName(name string) error {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("name: must be 1 to %d characters of UTF-8", maxName)
	}
	for _, c := range name {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("name: %q is not printable", c)
		}
	}
	return nil
}

// hear passes on what a member sent.
func (r *room) hear(m *member, kind int, p []byte) error {
	if kind != websocket.TextMessage {
		return &closing{websocket.CloseUnsupportedData, "text only"}
	}
	r.say(m, string(p))
	return nil
}

// attend is the pump of a member.
func (s *socket) attend(ctx context.Context, m *member) error {
	beat := time.NewTicker(pingEvery)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-m.dropped:
			return &closing{websocket.CloseTryAgainLater, "too slow for the room"}
		case p := <-m.queue:
			err = s.write(websocket.TextMessage, p)
		case <-beat.C:
			err = s.ping()
		}
		if err != nil {
			return err
		}
	}
}
