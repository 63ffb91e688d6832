package wire

// AppendMessage appends a message from the offset from on, as one DATA or several,
// as far as most bytes of room allow. It returns the offset to go on from, which is
// from itself where there is no room for a piece worth cutting; whole says that
// the message's end is in.
func AppendMessage(dst []byte, number uint64, binary bool, message []byte, from, most int) (out []byte, next int, whole bool) {
	d := Data{Binary: binary, Number: number}
	for end := len(dst) + most; ; {
		room := min(end-len(dst)-dataHead(number, from), MaxPayload)
		left := len(message) - from
		d.More = room < left
		if d.More && room < MinFragment { // or less than nothing
			return dst, from, false
		}
		n := min(room, left)
		d.Offset, d.Payload = uint64(from), message[from:from+n]
		dst = d.Append(dst)
		if from += n; !d.More {
			return dst, from, true
		}
	}
}

// dataHead is the most that a DATA has beside its payload.
func dataHead(number uint64, offset int) int {
	return 1 + sizeOf(MaxPayload) + 1 + sizeOf(number) + sizeOf(uint64(offset))
}
