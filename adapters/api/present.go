package api

import (
	"time"

	"github.com/postern-io/postern/registry"
)

// How the nouns look in JSON.

func userOf(u registry.User) User {
	return User{
		ID: string(u.ID), FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, EmailVerified: u.EmailVerified,
		Credentials: UserCredentials{Username: u.Username}, Role: Role(u.Role.String()), Status: Status(u.Status),
		Tags: u.Tags, Metadata: Metadata(u.Metadata), ProfilePicture: u.ProfilePicture, Provider: u.Provider, Attributes: u.Attributes,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, UpdatedBy: string(u.UpdatedBy),
	}
}

// nameOf is what everybody who is signed in may know of an account.
func nameOf(u registry.User) User {
	return User{ID: string(u.ID), FirstName: u.FirstName, LastName: u.LastName,
		Credentials: UserCredentials{Username: u.Username}, Status: Status(u.Status),
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt}
}

func domainOf(d registry.Domain) Domain {
	return Domain{
		ID: string(d.ID), Name: d.Name, Route: d.Route, Status: Status(d.Status), Tags: d.Tags, Metadata: Metadata(d.Metadata),
		CreatedBy: string(d.CreatedBy), CreatedAt: d.CreatedAt, UpdatedBy: string(d.UpdatedBy), UpdatedAt: d.UpdatedAt,
	}
}

func memberOf(u registry.User, r registry.Role) Member {
	return Member{UserID: string(u.ID), Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Role: Role(r.String())}
}

func clientOf(d registry.Device) Client {
	return Client{
		ID: string(d.ID), DomainID: string(d.Domain), Name: d.Name, Credentials: ClientCredentials{Identity: d.Identity},
		Status: Status(d.Status), Tags: d.Tags, Metadata: Metadata(d.Metadata),
		CreatedAt: d.CreatedAt, UpdatedBy: string(d.UpdatedBy), UpdatedAt: d.UpdatedAt,
	}
}

// newbornOf is a client with the one sight of its secret.
func newbornOf(d registry.NewDevice) Client {
	c := clientOf(d.Device)
	c.Credentials.Secret = d.Secret.Reveal()
	return c
}

func secretOf(s registry.DeviceSecret) Secret {
	return Secret{ID: string(s.ID), CreatedAt: s.Created, LastUsed: unlessZero(s.LastUsed), ExpiresAt: unlessZero(s.Expires)}
}

func channelOf(c registry.Channel) Channel {
	return Channel{
		ID: string(c.ID), DomainID: string(c.Domain), Name: c.Name, Route: c.Route, Store: c.Store,
		Status: Status(c.Status), Tags: c.Tags, Metadata: Metadata(c.Metadata),
		CreatedAt: c.CreatedAt, UpdatedBy: string(c.UpdatedBy), UpdatedAt: c.UpdatedAt,
	}
}

func connectionOf(c registry.Connection) Connection {
	return Connection{ClientID: string(c.Device), ChannelID: string(c.Channel), Types: c.Rights.Names()}
}

// unlessZero shows a time that may not have come.
func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// each shows every item of a page; never nil, because a list without items is
// [] in JSON.
func each[T, V any](items []T, show func(T) V) []V {
	out := make([]V, len(items))
	for i, item := range items {
		out[i] = show(item)
	}
	return out
}
