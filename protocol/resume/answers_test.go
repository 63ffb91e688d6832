package resume

import (
	"bufio"
	"net/http"
	"testing"
	"testing/synctest"

	"sidecar/protocol/resume/wire"
	"sidecar/session"
)

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
