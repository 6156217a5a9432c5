package pages

import (
	"cmp"
	"net/url"
	"strconv"
)

// perPage is how many of anything a page shows.
const perPage = 50

// A listing is one page of many.
type listing struct {
	Query         url.Values // what the reader asked for
	Total, Offset int
	Limit         int
	Path          string
	Key           string // of the offset in the address; "": offset
}

// listing reads which page of a list is asked for, with the filters named.
func (v *visit) listing(filters ...string) listing {
	l := listing{Query: url.Values{}, Limit: perPage, Path: v.r.URL.Path}
	for _, name := range filters {
		if text := v.r.URL.Query().Get(name); text != "" {
			l.Query.Set(name, text)
		}
	}
	if n, err := strconv.Atoi(v.r.URL.Query().Get("offset")); err == nil && n > 0 {
		l.Offset = n
	}
	return l
}

// ask is the query for the API.
func (l listing) ask() string {
	q := url.Values{"limit": {strconv.Itoa(l.Limit)}, "offset": {strconv.Itoa(l.Offset)}}
	for name, values := range l.Query {
		q[name] = values
	}
	return "?" + q.Encode()
}

// Value is what the reader asked for in one filter.
func (l listing) Value(name string) string { return l.Query.Get(name) }

// Filtered reports whether any filter is set.
func (l listing) Filtered() bool { return len(l.Query) > 0 }

func (l listing) at(offset int) string {
	q := url.Values{}
	for name, values := range l.Query {
		q[name] = values
	}
	if offset > 0 {
		q.Set(cmp.Or(l.Key, "offset"), strconv.Itoa(offset))
	}
	if len(q) == 0 {
		return l.Path
	}
	return l.Path + "?" + q.Encode()
}

// First and Last number the entries of this page, from 1.
func (l listing) First() int { return min(l.Offset+1, l.Total) }

// Last is the number of the last entry of this page.
func (l listing) Last() int { return min(l.Offset+l.Limit, l.Total) }

// Before is where the page before this one is; "" on the first.
func (l listing) Before() string {
	if l.Offset == 0 {
		return ""
	}
	return l.at(max(0, l.Offset-l.Limit))
}

// After is where the next page is; "" on the last.
func (l listing) After() string {
	if l.Offset+l.Limit >= l.Total {
		return ""
	}
	return l.at(l.Offset + l.Limit)
}
