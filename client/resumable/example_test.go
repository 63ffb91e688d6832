package resumable_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"sidecar/client/resumable"
)

// A conversation from its opening to its close.
func Example() {
	ctx := context.Background()
	c, err := resumable.Dial(ctx, "wss://chat.example.com/room?n=1", &resumable.Options{
		Subprotocols: []string{"chat.v1"},
		Header:       http.Header{"Authorization": {"Bearer token"}},
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.CloseNow()
	if err := c.Write(ctx, resumable.Text, []byte("hello")); err != nil {
		log.Print(err)
		return
	}
	for {
		_, message, err := c.Read(ctx)
		if end := (*resumable.CloseError)(nil); errors.As(err, &end) {
			fmt.Println("closed by the backend:", end.Code, end.Reason)
			return
		}
		if gone := (*resumable.Gone)(nil); errors.As(err, &gone) {
			fmt.Println("lost:", gone.Reason, c.Buffered(), "bytes of unknown fate")
			return
		}
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Printf("%s\n", message)
	}
}

// To have the backend's last words, close one direction and read on.
func ExampleConn_CloseWrite() {
	c, err := resumable.Dial(context.Background(), "wss://chat.example.com/", nil)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.CloseNow()
	c.CloseWrite(1000, "that was all")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for err == nil {
		var message []byte
		if _, message, err = c.Read(ctx); err == nil {
			fmt.Printf("%s\n", message)
		}
	}
}

// Programs that dial often let Dials learn from each other, and may watch transports.
func ExampleOptions() {
	networks := &resumable.Memory{}
	o := &resumable.Options{
		Memory:     networks,
		Transports: []resumable.Transport{resumable.WebSocket, resumable.Poll},
		OnTransport: func(now resumable.Transport, why error) {
			log.Printf("transport %q, since %v", now, why)
		},
	}
	c, err := resumable.Dial(context.Background(), "wss://chat.example.com/", o)
	if err != nil {
		log.Print(err)
		return
	}
	c.CloseNow()
}
