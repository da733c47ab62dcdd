package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

func check(right bool, what ...any) {
	if !right {
		panic(fmt.Sprint(what...))
	}
}

func try[T any](value T, err error) T {
	must(err)
	return value
}

func must(err error) {
	check(err == nil, err)
}

func until(ctx context.Context, what string, holds func() bool) {
	for !holds() {
		check(ctx.Err() == nil, "not so: ", what)
		time.Sleep(20 * time.Millisecond)
	}
}

// The number of keys, each counted once.
func size(all ...*sync.Map) int {
	keys := map[any]bool{}
	for _, each := range all {
		each.Range(func(key, _ any) bool { keys[key] = true; return true })
	}
	return len(keys)
}
