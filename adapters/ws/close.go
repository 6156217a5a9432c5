package ws

import (
	"github.com/gorilla/websocket"

	"github.com/postern-io/postern/adapters"
)

// The close codes of our own (RFC 6455 section 7.4.2 leaves 4000 to 4999 to
// applications); they read like the HTTP statuses.
const (
	closeRevoked = 4401
	closeDenied  = 4403
)

// A farewell is a close frame.
type farewell struct {
	code   int
	reason string // at most 123 bytes
}

// farewells is the table of DESIGN's chapter 4 for an open socket.
var farewells = map[adapters.Kind]farewell{
	adapters.Revoked:         {closeRevoked, "the credential was revoked"},
	adapters.Unauthenticated: {closeRevoked, "the credential was revoked"},
	adapters.Denied:          {closeDenied, "not allowed on this channel"},
	adapters.InvalidTopic:    {websocket.ClosePolicyViolation, "the topic is invalid"},
	adapters.InvalidContent:  {websocket.ClosePolicyViolation, "the message is invalid"},
	adapters.Invalid:         {websocket.ClosePolicyViolation, "the message is invalid"},
	adapters.TooLarge:        {websocket.CloseMessageTooBig, "the message is too large"},
	adapters.Limited:         {websocket.CloseTryAgainLater, "too much, try again later"},
	adapters.Unavailable:     {websocket.CloseTryAgainLater, "the message cannot be carried now, try again later"},
	adapters.Internal:        {websocket.CloseInternalServerErr, "something went wrong here"},
}

func farewellFor(err error) farewell {
	if f, ok := farewells[adapters.KindOf(err)]; ok {
		return f
	}
	return farewells[adapters.Internal]
}
