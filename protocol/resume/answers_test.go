package resume

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

// A HELLO by poll that has lost its place to another before it could be answered is
// answered all the same, and not held for ever.
func TestPollThatLostItsPlaceIsAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		hello := &wire.Hello{Version: 1, Attempt: b.attempt, Generation: 1, Use: 1, Session: b.session, Token: b.token, Position: wire.Position{Lowest: 1}, Window: 4096}
		var first *carrier
		for n := range 2 {
			p := &poll{}
			p.carrier = &carrier{kind: wire.Poll, way: p, generation: 1}
			if reason := b.c.resume(p.carrier, hello); reason != "" {
				t.Fatalf("HELLO %d got GONE %s", n+1, reason)
			}
			if n == 0 {
				first = p.carrier
			}
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Hour)
		defer leave()
		w := httptest.NewRecorder()
		func() {
			defer func() { recover() }() // as net/http does for a client that has left
			first.hold(w, b.request(wire.Poll, nil).WithContext(ctx), false)
		}()
		all := split(t, w.Body.Bytes())
		if len(all) != 1 || all[0].Type != wire.TypeWelcome {
			t.Fatalf("it got %v; want its WELCOME", all)
		}
		if n := b.c.answers; n != 0 {
			t.Errorf("%d answers count as on their way; want none", n)
		}
	})
}

// Whoever asks again and again and takes no answer does not have one held for each
// time: a poll is some hundred bytes, and its answer may be 256 KiB. Once there is room
// again the poll that is held gets what there is.
func TestAnswersThatNobodyTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.poll()
		b.c.session.Deliver(session.Message{Binary: true, Data: make([]byte, 200_000)})
		var answers []*bufio.Reader
		for range 5 * maxAnswers {
			conn, err := b.pipe.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go b.request(wire.Poll, b.next(1)).Write(conn)
			synctest.Wait()
			answers = append(answers, bufio.NewReaderSize(conn, 1000))
		}
		heads := make(chan int64, len(answers))
		for _, r := range answers {
			go func() {
				if res, err := http.ReadResponse(r, nil); err == nil {
					heads <- res.ContentLength
				}
			}()
		}
		synctest.Wait()
		got := 0
		for range len(heads) {
			if n := <-heads; n > 1000 {
				got++
			}
		}
		if got != maxAnswers {
			t.Errorf("%d large answers are held for one client; want %d", got, maxAnswers)
		}
	})
}
