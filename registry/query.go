package registry

import "time"

// MaxPage is the largest number of items in one answer.
const MaxPage = 100

// An Order names what a list is sorted by; the id breaks ties.
type Order string

const (
	ByCreated Order = "created_at"
	ByUpdated Order = "updated_at"
	ByName    Order = "name"
)

// A Query selects a page of a list. The zero value of a field does not
// restrict; fields that make no sense for a noun are ignored.
type Query struct {
	Domain   DomainID
	Status   Status
	ID       string
	Name     string // part of the name (of users: names and e-mail), without case
	Tag      string
	Metadata Metadata // contained in the noun's metadata, as in PostgreSQL's @>

	Device  DeviceID  // connected to this device
	Channel ChannelID // connected to this channel
	Rights  Rights    // with all of these rights
	User    UserID    // domains: of which this user is a member
	MinRole Role      // users: whose platform role is this one or above

	Offset int
	Limit  int // 1 to MaxPage
	// After selects what comes behind a place in the order of creation; only that
	// is counted. A list that is walked so misses nothing and tells nothing twice
	// while others come and go.
	After      *Place
	Order      Order
	Descending bool
}

// A Place is where something stands in the order of creation.
type Place struct {
	At time.Time
	ID string
}

// Check tells whether the query can be answered.
func (q Query) Check() error {
	switch {
	case q.Offset < 0:
		return &InvalidError{Field: "offset", Reason: "must not be negative"}
	case q.Limit < 1 || q.Limit > MaxPage:
		return &InvalidError{Field: "limit", Reason: "must be 1 to 100"}
	case q.Order != ByCreated && q.Order != ByUpdated && q.Order != ByName:
		return &InvalidError{Field: "order", Reason: "must be created_at, updated_at or name"}
	case q.After != nil && (q.Order != ByCreated || q.Offset != 0):
		return &InvalidError{Field: "after", Reason: "goes with the order created_at and no offset"}
	}
	if err := checkText("name", q.Name, MaxName); err != nil {
		return err
	}
	if err := checkText("id", q.ID, MaxName); err != nil {
		return err
	}
	if err := checkText("tag", q.Tag, MaxTagLength); err != nil {
		return err
	}
	return checkMetadata(q.Metadata)
}

// A List is one page and how many items there are on all pages.
type List[T any] struct {
	Total int
	Items []T
}

// A Member is a user with the role that the membership gives.
type Member struct {
	User User
	Role Role
}
