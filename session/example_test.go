package session_test

import (
	"context"
	"fmt"

	"sidecar/session"
)

// echo is a backend that says what it is told.
type echo struct{ session *session.Session }

func (e *echo) Write(m session.Message) error { e.session.Deliver(m); return nil }
func (e *echo) Close(c session.Close)         { e.session.DeliverClose(c) }
func (e *echo) Room()                         {}

func begin() (*session.Sessions, *session.Session) {
	sessions := &session.Sessions{Owner: "node1."}
	settings := session.Default()
	backend := &echo{}
	s, err := sessions.Open(session.Opening{Settings: &settings, Backend: backend})
	if err != nil {
		panic(err)
	}
	backend.session = s
	return sessions, s
}

func messages(words ...string) (all []session.Message) {
	for _, w := range words {
		all = append(all, session.Message{Data: []byte(w)})
	}
	return all
}

func show(b session.Batch) {
	for i, m := range b.Messages {
		fmt.Printf("  %d %s\n", b.First+uint64(i), m.Data)
	}
	if b.Close != nil {
		fmt.Printf("  %d close %d\n", b.Last(), b.Close.Code)
	}
}

// A protocol with numbers: a carrier dies, and the next goes on where the client is.
func Example_numbers() {
	ctx := context.Background()
	sessions, s := begin()
	wake := make(chan struct{}, 1)
	woken := func() {
		select {
		case wake <- struct{}{}:
		default: // it has been told
		}
	}

	first, _ := s.Attach(woken)
	received, _ := s.Send(ctx, 1, messages("one", "two")...)
	fmt.Println("the backend has", received)
	<-wake
	b, _ := first.Take(nil, 64<<10)
	show(b)

	// The client got message 1, then its network was gone. It cannot know what the
	// backend has, and sends from message 2 again.
	s, _ = sessions.Find(s.ID(), session.Identity{})
	second, _ := s.Resume(1, woken)
	_, err := first.Take(nil, 64<<10)
	fmt.Println("the first carrier:", err)
	received, _ = s.Send(ctx, 2, messages("two", "three")...)
	fmt.Println("the backend has", received)
	b, _ = second.Take(nil, 64<<10)
	show(b)
	s.SendClose(ctx, 4, session.Close{Code: 1000})
	b, _ = second.Take(nil, 64<<10)
	show(b)
	s.Ack(b.Last())

	_, err = sessions.Find(s.ID(), session.Identity{})
	fmt.Println(err)
	// Output:
	// the backend has 2
	//   1 one
	//   2 two
	// the first carrier: a newer carrier has taken over
	// the backend has 3
	//   2 two
	//   3 three
	//   4 close 1000
	// the session has ended: closed
}

// A protocol without numbers: each poll attaches, and what was written to it is
// delivered.
func Example_written() {
	_, s := begin()
	poll := func() {
		r, err := s.Attach(func() {}) // a wake would answer a poll that is being held
		if err != nil {
			fmt.Println("a second poll:", err)
			return
		}
		defer r.Close()
		b, _ := r.Take(nil, 64<<10)
		fmt.Println("the answer:")
		show(b) // writes to the client; had that failed, the next poll would have it again
		s.Ack(b.Last())
	}

	s.Send(context.Background(), 0, messages("one", "two")...) // 0: a POST is in order by itself
	poll()
	s.Send(context.Background(), 0, messages("three")...)
	poll()
	s.End(session.Left, session.Close{Code: 1001})
	fmt.Println(s.Ended())
	// Output:
	// the answer:
	//   1 one
	//   2 two
	// the answer:
	//   3 three
	// left
}
