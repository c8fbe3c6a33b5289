-- breaks
-- after procrastinate: a function gets another name with its version
alter function host_supports(hosts, text [], text [], text []) rename to host_supports_v1;
