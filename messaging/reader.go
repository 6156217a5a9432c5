package messaging

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// maxLine bounds a line of the protocol. An INFO that lists a large cluster is
// the longest.
const maxLine = 256 << 10

// A reader parses what the server sends. It keeps what it has read in one
// buffer, and hands out slices of it.
type reader struct {
	link *link
	conn net.Conn
	buf  []byte // read and not yet parsed
}

// run returns why the connection ended.
func (r *reader) run() error {
	store := make([]byte, 64<<10)
	n := copy(store, r.buf)
	if n < len(r.buf) {
		store = append(r.buf, make([]byte, 64<<10)...)
		n = len(r.buf)
	}
	for {
		used, err := r.parse(store[:n])
		if err != nil {
			return err
		}
		if used > 0 {
			n = copy(store, store[used:n])
		}
		if n == len(store) { // one message larger than the buffer
			store = append(store, make([]byte, len(store))...)
		}
		more, err := r.conn.Read(store[n:])
		if err != nil {
			return err
		}
		r.link.heard.Store(true)
		n += more
	}
}

var errProtocol = errors.New("the server does not keep to the protocol")

// parse handles the whole operations at the beginning of b and returns their
// length.
func (r *reader) parse(b []byte) (used int, err error) {
	for {
		rest := b[used:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			if len(rest) > maxLine {
				return used, errProtocol
			}
			return used, nil
		}
		line := rest[:end]
		if end > 0 && line[end-1] == '\r' {
			line = line[:end-1]
		}
		size := end + 1
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			n, err := r.message(line[4:], rest[size:], false)
			if n == 0 || err != nil {
				return used, err
			}
			size += n
		case bytes.HasPrefix(line, []byte("HMSG ")):
			n, err := r.message(line[5:], rest[size:], true)
			if n == 0 || err != nil {
				return used, err
			}
			size += n
		case bytes.Equal(line, []byte("PING")):
			r.link.answerPing()
		case bytes.Equal(line, []byte("PONG")):
			if err := r.link.pong(); err != nil {
				return used, err
			}
		case bytes.HasPrefix(line, []byte("-ERR")):
			if bytes.Contains(line, []byte("Slow Consumer")) {
				r.link.slow()
			}
			// Of these the server closes the connection after all but
			// "Permissions Violation".
			r.link.log.Warn("NATS reported an error", "connection", r.link.name, "err", string(line))
		case bytes.HasPrefix(line, []byte("INFO")), bytes.Equal(line, []byte("+OK")), len(line) == 0:
		default:
			return used, errProtocol
		}
		used += size
	}
}

// message handles MSG <subject> <sid> [reply] <size> or HMSG with the length
// of the headers before the size. It returns 0 when the message is not there
// in whole.
func (r *reader) message(args, body []byte, headers bool) (int, error) {
	var fields [5][]byte
	n := 0
	for len(args) > 0 {
		field := args
		if i := bytes.IndexByte(args, ' '); i >= 0 {
			field, args = args[:i], args[i+1:]
		} else {
			args = nil
		}
		if len(field) == 0 {
			continue
		}
		if n == len(fields) {
			return 0, errProtocol
		}
		fields[n] = field
		n++
	}
	least := 3
	if headers {
		least = 4
	}
	if n != least && n != least+1 {
		return 0, errProtocol
	}
	id, ok := number(fields[1])
	size, ok2 := number(fields[n-1])
	head := uint64(0)
	if headers {
		var ok3 bool
		head, ok3 = number(fields[n-2])
		ok2 = ok2 && ok3
	}
	if !ok || !ok2 || head > size || size > 1<<30 {
		return 0, fmt.Errorf("%w: a message of impossible size", errProtocol)
	}
	total := int(size) + 2
	if len(body) < total {
		return 0, nil
	}
	if sub := r.link.subscription(id); sub != nil {
		r.link.received(sub, fields[0], body[:head], body[head:size])
	}
	return total, nil
}

func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
