"""Logs of AWS: CloudTrail, and Bedrock's log of model invocations."""

from __future__ import annotations

import re

from charter.evidence.observation import Observation, Used, Who, count_of
from charter.evidence.vendors.record import Record, effect_of, ended, more_of, seen, text_at, value_at

_KINDS = {"IAMUser": "person", "Root": "person", "AssumedRole": "service", "AWSService": "service"}
_AI = ("bedrock", "sagemaker", "qbusiness", "q.", "qapps", "codewhisperer")

_OBJECTS = (  # of calls that name no resource, which most are
    *("agentId", "knowledgeBaseId", "bucketName", "secretId", "keyId", "functionName", "tableName", "instanceId"),
    *("roleArn", "roleName", "policyArn", "userName", "groupName", "queueUrl", "topicArn", "stackName", "logGroupName"),
)


def read(record: Record) -> Observation:
    """AWS CloudTrail, and Bedrock's log of model invocations (`schemaType`)."""
    if text_at(record, "schemaType") == "ModelInvocationLog":
        return _bedrock(record)
    service, action = text_at(record, "eventSource"), text_at(record, "eventName")
    arn = text_at(record, "userIdentity.arn")
    name = arn or text_at(record, "userIdentity.userName", "userIdentity.invokedBy", "userIdentity.principalId")
    who = Who(
        name,
        id=text_at(record, "userIdentity.principalId"),
        kind=_KINDS.get(text_at(record, "userIdentity.type"), "unknown"),
        credential=text_at(record, "userIdentity.accessKeyId"),
        marks=_marks_of(arn),
    )
    model = text_at(record, "requestParameters.modelId")
    error = text_at(record, "errorCode", "errorMessage")  # a sign-in that failed has no code
    return seen(
        text_at(record, "eventID"),
        value_at(record, "eventTime"),
        who,
        action,
        service=service,
        object=model or text_at(record, "resources.ARN", *(f"requestParameters.{name}" for name in _OBJECTS)),
        outcome=ended(not error),
        error=error,
        address=text_at(record, "sourceIPAddress"),
        used=Used("aws.bedrock", model) if model else None,
        uses_ai=service.startswith(_AI),
        effect="read" if record.get("readOnly") is True else effect_of(action),
        more=more_of(record, region="awsRegion", account="recipientAccountId", request="requestID"),
    )


_ROLE = re.compile(r"arn:aws[a-z-]*:sts::(\d{12}):assumed-role/([^/]+)/[^/]+")


def _marks_of(arn: str) -> tuple[str, ...]:
    """Return what AWS makes sure of: the ARN, and of an assumed role its account and name."""
    role = _ROLE.fullmatch(arn)
    return (arn, f"{role[1]}/{role[2]}") if role else (arn,) if arn else ()


def _bedrock(record: Record) -> Observation:
    arn, model = text_at(record, "identity.arn"), text_at(record, "modelId")
    error = text_at(record, "errorCode")
    return seen(
        text_at(record, "requestId"),
        value_at(record, "timestamp"),
        Who(arn, kind="service", marks=_marks_of(arn)),
        text_at(record, "operation"),
        service="bedrock.amazonaws.com",
        object=model,
        outcome=ended(not error),
        error=error,
        used=Used(
            "aws.bedrock",
            model,
            count_of(value_at(record, "input.inputTokenCount")),
            count_of(value_at(record, "output.outputTokenCount")),
        ),
        uses_ai=True,
        more=more_of(record, region="region", account="accountId"),
    )
