package messaging

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// MaxTopic is the length in bytes that a topic or filter may have. MQTT
	// allows 65,535; NATS reads a subject, its reply and the lengths from one
	// line of at most 4,096 bytes, and percent-encoding can triple a level.
	MaxTopic = 1024
	// MaxLevels is the number of levels that a topic or filter may have.
	MaxLevels = 128
)

// ErrInvalidTopic is what every *InvalidTopicError is.
var ErrInvalidTopic = errors.New("invalid topic")

// An InvalidTopicError tells why a topic, filter or subject was refused. The
// text itself is left out, for it comes from a stranger and may be long.
type InvalidTopicError struct {
	Reason string
}

func (e *InvalidTopicError) Error() string { return "invalid topic: " + e.Reason }

// Is makes errors.Is(err, ErrInvalidTopic) hold.
func (e *InvalidTopicError) Is(target error) bool { return target == ErrInvalidTopic }

func invalid(format string, args ...any) error {
	return &InvalidTopicError{Reason: fmt.Sprintf(format, args...)}
}

// A Topic names where a message is published: a channel of a domain, and a
// subtopic that the devices choose freely. The zero Topic is not valid;
// ParseTopic and ParseSubject return valid ones. Topics compare with ==.
type Topic struct {
	Domain, Channel string
	Subtopic        string // "" or "a/b", as MQTT writes it
}

// ParseTopic reads m/<domain>/c/<channel>[/<subtopic>]. The error is an
// *InvalidTopicError when the shape is another, a wildcard, NUL or invalid
// UTF-8 occurs, domain or channel is empty, or a bound is exceeded.
//
// m/d/c/c/ is refused: its subtopic would be one empty level, which String
// could not tell from no subtopic. m/d/c/c//a and m/d/c/c/a/ are fine.
func ParseTopic(s string) (Topic, error) {
	t, err := split(s)
	if err != nil {
		return Topic{}, err
	}
	if strings.ContainsAny(s, "+#") {
		return Topic{}, invalid("a wildcard stands in a topic name")
	}
	return t, nil
}

// split reads the shape that topics and filters share. It looks for wildcards
// in neither.
func split(s string) (Topic, error) {
	switch {
	case len(s) > MaxTopic:
		return Topic{}, invalid("longer than %d bytes", MaxTopic)
	case strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s):
		return Topic{}, invalid("not UTF-8 without NUL") // [MQTT-1.5.4-1], [MQTT-1.5.4-2]
	case strings.Count(s, "/") >= MaxLevels:
		return Topic{}, invalid("more than %d levels", MaxLevels)
	}
	rest, ok := strings.CutPrefix(s, "m/")
	if !ok {
		return Topic{}, invalid("it does not begin with m/")
	}
	domain, rest, _ := strings.Cut(rest, "/")
	if domain == "" {
		return Topic{}, invalid("the domain is empty")
	}
	rest, ok = strings.CutPrefix(rest, "c/")
	if !ok {
		return Topic{}, invalid("c/ does not follow the domain")
	}
	channel, subtopic, more := strings.Cut(rest, "/")
	switch {
	case channel == "":
		return Topic{}, invalid("the channel is empty")
	case more && subtopic == "":
		return Topic{}, invalid("it ends with a slash after the channel")
	}
	return Topic{Domain: domain, Channel: channel, Subtopic: subtopic}, nil
}

// String returns the topic as MQTT writes it.
func (t Topic) String() string {
	s := "m/" + t.Domain + "/c/" + t.Channel
	if t.Subtopic != "" {
		s += "/" + t.Subtopic
	}
	return s
}

// Subject returns m.<domain>.c.<channel>[.<level>…]. In each level the bytes
// that NATS treats specially (control bytes, space, ".", "*", ">") and "%" are
// written %XX in upper-case hex, and an empty level is a lone "%".
func (t Topic) Subject() string {
	b := make([]byte, 0, 8+len(t.Domain)+len(t.Channel)+len(t.Subtopic))
	b = append(b, "m."...)
	b = appendToken(b, t.Domain)
	b = append(b, ".c."...)
	b = appendToken(b, t.Channel)
	if t.Subtopic != "" {
		for level := range strings.SplitSeq(t.Subtopic, "/") {
			b = append(b, '.')
			b = appendToken(b, level)
		}
	}
	return string(b)
}

// ParseSubject reads what Subject writes, and nothing else: an encoding that
// Subject would not have chosen is an *InvalidTopicError, so that one topic
// has one subject.
func ParseSubject(s string) (Topic, error) {
	if len(s) > 3*MaxTopic {
		return Topic{}, invalid("longer than %d bytes", 3*MaxTopic)
	}
	var topic strings.Builder
	topic.Grow(len(s))
	for i, token := range strings.Split(s, ".") {
		if i > 0 {
			topic.WriteByte('/')
		}
		if err := writeLevel(&topic, token); err != nil {
			return Topic{}, err
		}
	}
	return ParseTopic(topic.String())
}

const upperHex = "0123456789ABCDEF"

func special(c byte) bool {
	return c <= ' ' || c == '.' || c == '*' || c == '>' || c == '%' || c == 0x7f
}

func appendToken(b []byte, level string) []byte {
	if level == "" {
		return append(b, '%')
	}
	for i := range len(level) {
		if c := level[i]; special(c) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

func writeLevel(w *strings.Builder, token string) error {
	switch token {
	case "":
		return invalid("an empty token stands in a subject")
	case "%":
		return nil
	}
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c != '%' {
			if special(c) || c == '/' {
				return invalid("a token holds a byte that should be encoded")
			}
			w.WriteByte(c)
			continue
		}
		if i+2 >= len(token) {
			return invalid("an encoded byte is cut short")
		}
		hi, lo := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
		if hi < 0 || lo < 0 || !special(byte(hi<<4|lo)) {
			return invalid("a byte is encoded that should not be")
		}
		w.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return nil
}
