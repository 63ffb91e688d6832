package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// begun takes the head of an endless answer off b. It fails with errShort while
// that is not whole.
func begun(b []byte) (rest []byte, err error) {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !whole && len(b) > mostHead:
		return nil, errors.New("reading an answer: it has no end")
	case !whole:
		return nil, errShort
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) || field(head, "Transfer-Encoding") != "chunked":
		return nil, fmt.Errorf("a stream was answered with %q", b)
	}
	return rest, nil
}

// cutChunk takes the first chunk off b (RFC 9112 section 7.1). It fails with
// errShort while that is not whole, and at the last one: a stream that is measured
// does not end.
func cutChunk(b []byte) (chunk, rest []byte, err error) {
	size, rest, whole := bytes.Cut(b, []byte("\r\n"))
	if !whole {
		if len(b) > 16 {
			return nil, nil, fmt.Errorf("reading a chunk: %.20q gives no length", b)
		}
		return nil, nil, errShort
	}
	n, err := strconv.ParseUint(string(size), 16, 32)
	if err != nil || n > most {
		return nil, nil, fmt.Errorf("reading a chunk: %q is no length to take", size)
	}
	if n == 0 {
		return nil, nil, errors.New("the stream ended")
	}
	if len(rest) < int(n)+2 {
		return nil, nil, errShort
	}
	if string(rest[n:n+2]) != "\r\n" {
		return nil, nil, fmt.Errorf("reading a chunk: %q is behind it", rest[n:n+2])
	}
	return rest[:n], rest[n+2:], nil
}
