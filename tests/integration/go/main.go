// A consumer group and an idempotent producer of franz-go: produces N records, reads them as a group, commits, and looks
// at the offsets. Prints "ok N". Usage: go run . BROKERS TOPIC N
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	brokers, topic := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()

	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.DefaultProduceTopic(topic))
	check(err)
	admin := kadm.NewClient(producer)
	created, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("99999")}, topic)
	check(err)
	check(created.Err)
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: []byte(fmt.Sprintf("value %d", i)),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}
	}
	check(producer.ProduceSync(ctx, records...).FirstErr())

	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	check(err)
	seen := map[string]bool{}
	for len(seen) < count {
		fetches := consumer.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != "value "+string(r.Key) || len(r.Headers) != 1 {
				check(fmt.Errorf("not what was sent: %s %s", r.Key, r.Value))
			}
			seen[string(r.Key)] = true
		})
	}
	check(consumer.CommitUncommittedOffsets(ctx))
	consumer.Close()

	offsets, err := admin.FetchOffsets(ctx, topic)
	check(err)
	var sum int64
	offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
	if sum != int64(count) {
		check(fmt.Errorf("offsets add up to %d, not %d", sum, count))
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	check(err)
	sum = 0
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	if sum != int64(count) {
		check(fmt.Errorf("ends add up to %d, not %d", sum, count))
	}
	_, err = admin.DeleteTopics(ctx, topic)
	check(err)
	producer.Close()
	fmt.Println("ok", count)
}
