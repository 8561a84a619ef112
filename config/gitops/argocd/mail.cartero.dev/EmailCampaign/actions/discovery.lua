-- What can be asked of an EmailCampaign in its present state; the others are shown as disabled.
local actions = {}
for _, name in ipairs({"hold", "release", "suspend", "resume", "stop", "retry-failed"}) do
  actions[name] = {["disabled"] = true}
end
local function enable(name)
  actions[name]["disabled"] = false
end
local status = obj.status or {}
local failed = status.recipients ~= nil and status.recipients.failed or 0
if failed > 0 and status.terminalState ~= "Cancelled" then
  enable("retry-failed")
end
if status.terminalState ~= nil and status.terminalState ~= "" or obj.metadata.deletionTimestamp ~= nil then
  return actions
end
local pausedByCartero = false
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Suspended" and condition.status == "True" then
    pausedByCartero = condition.reason == "AbortThresholdExceeded" or condition.reason == "FailurePolicyMatched"
  end
end
local annotations = obj.metadata.annotations or {}
if annotations["mail.cartero.dev/hold"] == nil then
  enable("hold")
else
  enable("release")
end
if obj.spec.suspend then
  enable("resume")
else
  enable("suspend")
end
if pausedByCartero then
  enable("resume")
end
if obj.spec.shutdown ~= "Stop" then
  enable("stop")
end
return actions
