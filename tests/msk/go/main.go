// A cluster as an infrastructure tool handles it, with the AWS SDK for Go: made, polled until it is there, read, changed
// with the version that is current, and deleted until nobody knows it. Its settings are those of `weir env`. Prints a
// line for each thing done, and "ok" at last. Usage: go run . NAME
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kafka"
	"github.com/aws/aws-sdk-go-v2/service/kafka/types"
)

var ctx, cancel = context.WithTimeout(context.Background(), 4*time.Minute)

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func same(what string, got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		fail("%s: %v instead of %v", what, got, wanted)
	}
}

// Asks until the state is the target; any state that is neither that nor in `pending` is unexpected.
func await[S ~string](what string, target S, pending []S, ask func() (S, error)) {
	for {
		state, err := ask()
		if err != nil {
			fail("%s: %v", what, err)
		}
		if state == target {
			return
		}
		if !slices.Contains(pending, state) {
			fail("%s: unexpected state %s", what, state)
		}
		select {
		case <-ctx.Done():
			fail("%s: still %s", what, state)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isA[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

type tool struct {
	client *kafka.Client
	arn    *string
}

func (t tool) cluster() (*types.ClusterInfo, error) {
	out, err := t.client.DescribeCluster(ctx, &kafka.DescribeClusterInput{ClusterArn: t.arn})
	if err != nil {
		return nil, err
	}
	return out.ClusterInfo, nil
}

func (t tool) clusterV2() *types.Cluster {
	return must(t.client.DescribeClusterV2(ctx, &kafka.DescribeClusterV2Input{ClusterArn: t.arn})).ClusterInfo
}

// What every update is: a request with the current version, and its operation until it has completed.
func (t tool) update(what string, begin func(version *string) (*string, error)) {
	before := *must(t.cluster()).CurrentVersion
	operation := must(begin(&before))
	await(what, "UPDATE_COMPLETE", []string{"PENDING", "UPDATE_IN_PROGRESS"}, func() (string, error) {
		out, err := t.client.DescribeClusterOperationV2(ctx, &kafka.DescribeClusterOperationV2Input{ClusterOperationArn: operation})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.ClusterOperationInfo.OperationState), nil
	})
	after := must(t.cluster())
	same(what+": state", after.State, types.ClusterStateActive)
	if *after.CurrentVersion == before {
		fail("%s: the version is the old one", what)
	}
	if _, err := begin(&before); !isA[*types.BadRequestException](err) {
		fail("%s: an old version is answered with %v", what, err)
	}
	fmt.Println(what)
}

func (t tool) create(name string, configuration *types.ConfigurationInfo) tool {
	input := &kafka.CreateClusterInput{
		ClusterName: &name, KafkaVersion: aws.String("3.9.x"), NumberOfBrokerNodes: aws.Int32(2),
		BrokerNodeGroupInfo: &types.BrokerNodeGroupInfo{
			BrokerAZDistribution: types.BrokerAZDistributionDefault, ClientSubnets: []string{"subnet-a", "subnet-b"},
			InstanceType: aws.String("kafka.t3.small"), SecurityGroups: []string{"sg-1"},
			StorageInfo: &types.StorageInfo{EbsStorageInfo: &types.EBSStorageInfo{VolumeSize: aws.Int32(10)}},
		},
		ClientAuthentication: &types.ClientAuthentication{
			Sasl:            &types.Sasl{Iam: &types.Iam{Enabled: aws.Bool(false)}, Scram: &types.Scram{Enabled: aws.Bool(false)}},
			Tls:             &types.Tls{Enabled: aws.Bool(false)},
			Unauthenticated: &types.Unauthenticated{Enabled: aws.Bool(true)},
		},
		ConfigurationInfo: configuration,
		EncryptionInfo: &types.EncryptionInfo{EncryptionInTransit: &types.EncryptionInTransit{
			ClientBroker: types.ClientBrokerTlsPlaintext, InCluster: aws.Bool(true)}},
		EnhancedMonitoring: types.EnhancedMonitoringDefault,
		LoggingInfo: &types.LoggingInfo{BrokerLogs: &types.BrokerLogs{
			CloudWatchLogs: &types.CloudWatchLogs{Enabled: aws.Bool(false)}, Firehose: &types.Firehose{Enabled: aws.Bool(false)},
			S3: &types.S3{Enabled: aws.Bool(false)}}},
		OpenMonitoring: &types.OpenMonitoringInfo{Prometheus: &types.PrometheusInfo{
			JmxExporter:  &types.JmxExporterInfo{EnabledInBroker: aws.Bool(false)},
			NodeExporter: &types.NodeExporterInfo{EnabledInBroker: aws.Bool(false)}}},
		StorageMode: types.StorageModeLocal,
		Tags:        map[string]string{"Name": name, "empty": ""},
	}
	out := must(t.client.CreateCluster(ctx, input))
	t.arn = out.ClusterArn
	if _, err := t.client.CreateCluster(ctx, input); !isA[*types.ConflictException](err) {
		fail("a second cluster of that name: %v", err)
	}
	await("create", types.ClusterStateActive, []types.ClusterState{types.ClusterStateCreating}, func() (types.ClusterState, error) {
		return t.clusterV2().State, nil
	})
	// What is planned again must be what is there: each block that was asked for comes back as it was.
	for _, shown := range []any{*must(t.cluster()), *t.clusterV2().Provisioned} {
		at := reflect.ValueOf(shown)
		for _, field := range []string{"ClientAuthentication", "EncryptionInfo", "EnhancedMonitoring", "LoggingInfo",
			"NumberOfBrokerNodes", "StorageMode"} {
			same(field, at.FieldByName(field).Interface(), reflect.ValueOf(*input).FieldByName(field).Interface())
		}
		group := at.FieldByName("BrokerNodeGroupInfo").Interface().(*types.BrokerNodeGroupInfo)
		same("group", [...]any{group.BrokerAZDistribution, group.ClientSubnets, group.InstanceType, group.SecurityGroups, group.StorageInfo},
			[...]any{input.BrokerNodeGroupInfo.BrokerAZDistribution, input.BrokerNodeGroupInfo.ClientSubnets, input.BrokerNodeGroupInfo.InstanceType,
				input.BrokerNodeGroupInfo.SecurityGroups, input.BrokerNodeGroupInfo.StorageInfo})
		same("public access", *group.ConnectivityInfo.PublicAccess.Type, "DISABLED")
		software := at.FieldByName("CurrentBrokerSoftwareInfo").Interface().(*types.BrokerSoftwareInfo)
		same("software", [...]any{*software.KafkaVersion, *software.ConfigurationArn, *software.ConfigurationRevision},
			[...]any{*input.KafkaVersion, *configuration.Arn, *configuration.Revision})
		// Of another type in each of the two.
		same("exporters", string(must(json.Marshal(at.FieldByName("OpenMonitoring").Interface()))), string(must(json.Marshal(input.OpenMonitoring))))
		if !strings.Contains(*at.FieldByName("ZookeeperConnectString").Interface().(*string), "/msk/"+name) {
			fail("the connect string of ZooKeeper has no chroot")
		}
	}
	same("tags", must(t.client.ListTagsForResource(ctx, &kafka.ListTagsForResourceInput{ResourceArn: t.arn})).Tags, input.Tags)
	same("tags of the cluster", must(t.cluster()).Tags, input.Tags)
	fmt.Println("create")
	return t
}

// Pages of one: what they have together, by `name`.
func pages[O any](what string, more func() bool, next func() (O, error), names func(O) []string) []string {
	var out []string
	for more() {
		page := names(must(next()))
		if len(page) > 1 {
			fail("%s: a page of %d", what, len(page))
		}
		out = append(out, page...)
	}
	return out
}

func each[T any](list []T, name func(T) string) []string {
	var out []string
	for _, item := range list {
		out = append(out, name(item))
	}
	return out
}

func (t tool) read() {
	brokers := must(t.client.GetBootstrapBrokers(ctx, &kafka.GetBootstrapBrokersInput{ClusterArn: t.arn}))
	same("plaintext", strings.Count(*brokers.BootstrapBrokerString, ":9092"), 2)
	same("TLS", strings.Count(*brokers.BootstrapBrokerStringTls, ":9094"), 2)
	same("what is off", [...]*string{brokers.BootstrapBrokerStringSaslIam, brokers.BootstrapBrokerStringSaslScram, brokers.BootstrapBrokerStringPublicTls},
		[...]*string{nil, nil, nil})
	nodes := kafka.NewListNodesPaginator(t.client, &kafka.ListNodesInput{ClusterArn: t.arn, MaxResults: aws.Int32(1)})
	same("nodes", pages("nodes", nodes.HasMorePages, func() (*kafka.ListNodesOutput, error) { return nodes.NextPage(ctx) },
		func(page *kafka.ListNodesOutput) []string {
			return each(page.NodeInfoList, func(n types.NodeInfo) string { return fmt.Sprint(*n.BrokerNodeInfo.BrokerId) })
		}), []string{"1", "2"})
	listed := kafka.NewListClustersV2Paginator(t.client, &kafka.ListClustersV2Input{MaxResults: aws.Int32(1)})
	arns := pages("clusters", listed.HasMorePages, func() (*kafka.ListClustersV2Output, error) { return listed.NextPage(ctx) },
		func(page *kafka.ListClustersV2Output) []string {
			return each(page.ClusterInfoList, func(c types.Cluster) string { return *c.ClusterArn })
		})
	same("the cluster in the list", slices.Contains(arns, *t.arn), true)
	secrets := must(t.client.ListScramSecrets(ctx, &kafka.ListScramSecretsInput{ClusterArn: t.arn}))
	same("secrets", len(secrets.SecretArnList), 0)
	if _, err := t.client.GetClusterPolicy(ctx, &kafka.GetClusterPolicyInput{ClusterArn: t.arn}); !isA[*types.NotFoundException](err) {
		fail("a policy that is not there: %v", err)
	}
	fmt.Println("read")
}

func (t tool) operations() {
	listed := kafka.NewListClusterOperationsV2Paginator(t.client, &kafka.ListClusterOperationsV2Input{ClusterArn: t.arn, MaxResults: aws.Int32(1)})
	same("operations", pages("operations", listed.HasMorePages, func() (*kafka.ListClusterOperationsV2Output, error) { return listed.NextPage(ctx) },
		func(page *kafka.ListClusterOperationsV2Output) []string {
			return each(page.ClusterOperationInfoList, func(o types.ClusterOperationV2Summary) string { return *o.OperationType })
		}), []string{"INCREASE_BROKER_COUNT", "INCREASE_BROKER_STORAGE", "UPDATE_CLUSTER_CONFIGURATION", "CREATE_CLUSTER"})
}

func (t tool) updates(configuration *string) {
	revised := must(t.client.UpdateConfiguration(ctx, &kafka.UpdateConfigurationInput{Arn: configuration,
		ServerProperties: []byte("message.max.bytes=900000\n")}))
	t.update("configuration", func(version *string) (*string, error) {
		out, err := t.client.UpdateClusterConfiguration(ctx, &kafka.UpdateClusterConfigurationInput{ClusterArn: t.arn, CurrentVersion: version,
			ConfigurationInfo: &types.ConfigurationInfo{Arn: configuration, Revision: revised.LatestRevision.Revision}})
		if err != nil {
			return nil, err
		}
		return out.ClusterOperationArn, nil
	})
	t.update("storage", func(version *string) (*string, error) {
		out, err := t.client.UpdateBrokerStorage(ctx, &kafka.UpdateBrokerStorageInput{ClusterArn: t.arn, CurrentVersion: version,
			TargetBrokerEBSVolumeInfo: []types.BrokerEBSVolumeInfo{{KafkaBrokerNodeId: aws.String("All"), VolumeSizeGB: aws.Int32(30)}}})
		if err != nil {
			return nil, err
		}
		return out.ClusterOperationArn, nil
	})
	t.update("brokers", func(version *string) (*string, error) {
		out, err := t.client.UpdateBrokerCount(ctx, &kafka.UpdateBrokerCountInput{ClusterArn: t.arn, CurrentVersion: version,
			TargetNumberOfBrokerNodes: aws.Int32(4)})
		if err != nil {
			return nil, err
		}
		return out.ClusterOperationArn, nil
	})
	must(t.client.UntagResource(ctx, &kafka.UntagResourceInput{ResourceArn: t.arn, TagKeys: []string{"empty"}}))
	must(t.client.TagResource(ctx, &kafka.TagResourceInput{ResourceArn: t.arn, Tags: map[string]string{"Name": "other", "more": "é"}}))
	same("tags", must(t.cluster()).Tags, map[string]string{"Name": "other", "more": "é"})
	t.operations()
}

func (t tool) delete() {
	same("delete", must(t.client.DeleteCluster(ctx, &kafka.DeleteClusterInput{ClusterArn: t.arn})).State, types.ClusterStateDeleting)
	await("delete", "gone", []string{string(types.ClusterStateDeleting)}, func() (string, error) {
		cluster, err := t.cluster()
		if isA[*types.NotFoundException](err) {
			return "gone", nil
		}
		if err != nil {
			return "", err
		}
		return string(cluster.State), nil
	})
	fmt.Println("delete")
}

func (t tool) deleteConfiguration(arn *string) {
	must(t.client.DeleteConfiguration(ctx, &kafka.DeleteConfigurationInput{Arn: arn}))
	await("delete configuration", "gone", []string{string(types.ConfigurationStateDeleting)}, func() (string, error) {
		out, err := t.client.DescribeConfiguration(ctx, &kafka.DescribeConfigurationInput{Arn: arn})
		var refused *types.BadRequestException
		if errors.As(err, &refused) && strings.Contains(refused.ErrorMessage(), "Configuration ARN does not exist") {
			return "gone", nil
		}
		if err != nil {
			return "", err
		}
		return string(out.State), nil
	})
}

func main() {
	defer cancel()
	name := os.Args[1]
	t := tool{client: kafka.NewFromConfig(must(config.LoadDefaultConfig(ctx)))}
	made := must(t.client.CreateConfiguration(ctx, &kafka.CreateConfigurationInput{Name: &name, ServerProperties: []byte("message.max.bytes=800000\n")}))
	t = t.create(name, &types.ConfigurationInfo{Arn: made.Arn, Revision: made.LatestRevision.Revision})
	t.read()
	t.updates(made.Arn)
	t.delete()
	t.deleteConfiguration(made.Arn)
	fmt.Println("ok")
}
